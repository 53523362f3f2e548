"""A raw chunk on disk: messages exactly as Kafka gave them, with a checksum of their content."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.files import make_folder, naming, sync

RAW_SCHEMA = pa.schema(
    [
        pa.field("kafka_offset", pa.int64(), nullable=False),
        pa.field("kafka_timestamp_us", pa.int64()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
    ]
)
YEAR_10000_US = 253_402_300_800_000_000  # producers may claim it and later times; where it matters they are unknown


class ChunkDamaged(Exception):
    """A committed chunk is missing, unreadable, or not what its record says."""


@dataclass
class ContentChecksum:
    """CRC-32 of offsets, keys and values; the same however the rows are split into batches."""

    _sums: dict[str, int] = field(default_factory=dict)

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch of `RAW_SCHEMA`."""
        self._add("offset", batch.column("kafka_offset").to_numpy(zero_copy_only=False))
        for name in ("key", "value"):
            lengths, content = _binary_content(batch.column(name))
            self._add(f"{name} lengths", lengths)
            self._add(name, content)

    def hexdigest(self) -> str:
        """The checksum as text."""
        text = " ".join(f"{name}:{value:08x}" for name, value in sorted(self._sums.items()))
        return f"{zlib.crc32(text.encode()):08x}"

    def _add(self, name: str, content: np.ndarray) -> None:
        self._sums[name] = zlib.crc32(np.ascontiguousarray(content).data, self._sums.get(name, 0))


def _binary_content(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    _, offsets, content = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    lengths = np.diff(bounds).astype(np.int32)
    lengths[column.is_null().to_numpy(zero_copy_only=False)] = -1  # a tombstone is not an empty message
    data = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
    return lengths, data[bounds[0] : bounds[-1]]


def last_message(batch: pa.RecordBatch) -> str:
    """What tells the last message of a batch of `RAW_SCHEMA` from any other: its offset, ``:``, a checksum."""
    last, content = batch.slice(batch.num_rows - 1), ContentChecksum()
    content.update(last)
    received_us = last.column("kafka_timestamp_us")[0].as_py()  # the same click may be sent again
    checksum = zlib.crc32(f"{content.hexdigest()} {received_us}".encode())
    return f"{last.column('kafka_offset')[0].as_py()}:{checksum:08x}"


class ChunkWriter:
    """Writes batches of `RAW_SCHEMA`, a row group each; nothing counts until its record is committed."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self.path = path
        self.rows = 0
        self.bytes = 0
        self.ends_with: str | None = None
        self._checksum = ContentChecksum()
        with naming(path):
            self._writer = pq.ParquetWriter(
                path, RAW_SCHEMA, compression="zstd", compression_level=1, use_dictionary=False,
                write_statistics=["kafka_offset"], write_page_checksum=True,
            )  # fmt: skip

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch that holds rows."""
        with naming(self.path):
            self._writer.write_batch(batch, row_group_size=batch.num_rows)
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        self.ends_with = last_message(batch)
        self._checksum.update(batch)

    def close(self, end: int, **noted: str) -> str:
        """Finish the file, wait until it is on disk, and return its checksum; ``end`` and notes go into its footer."""
        checksum = self._checksum.hexdigest()
        facts = {"end_offset": end, "rows": self.rows, "checksum": checksum, **noted}
        self._writer.add_key_value_metadata({name: str(value) for name, value in facts.items()})
        with naming(self.path):
            self._writer.close()
        sync(self.path)
        sync(self.path.parent)
        return checksum

    def discard(self) -> None:
        """Drop the file, in whatever state it is."""
        try:
            self._writer.close()
        except OSError:  # on a full disk it cannot be finished, and need not be
            pass
        finally:
            self.path.unlink(missing_ok=True)


def read_chunk(path: Path, record: ChunkRecord) -> Iterator[pa.RecordBatch]:
    """The messages of a chunk, in the batches in which they were landed.

    `ChunkDamaged`, after the last at the latest, if its record says others.
    """
    checksum, rows = ContentChecksum(), 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(RAW_SCHEMA):
                raise ValueError("its columns are not those of a chunk")
            footer = (file.metadata.metadata or {}).get(b"end_offset", b"").decode()
            if footer != str(record.end):
                raise ValueError(f"it ends at offset {footer}, its record says {record.end}")
            for number in range(file.num_row_groups):
                for batch in file.read_row_group(number, use_threads=False).combine_chunks().to_batches():
                    checksum.update(batch)
                    rows += batch.num_rows
                    yield batch
    except FileNotFoundError:
        raise ChunkDamaged(f"chunk {record.name} in window {record.window}: its file is gone") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ChunkDamaged(f"chunk {record.name} in window {record.window} cannot be read: {error}") from None
    if rows != record.rows or checksum.hexdigest() != record.checksum:
        found = f"{rows} rows, checksum {checksum.hexdigest()}"
        kept = f"{record.rows} rows, checksum {record.checksum}"
        raise ChunkDamaged(f"chunk {record.name} in window {record.window}: {found}; its record says {kept}")


def last_of_chunk(path: Path) -> str | None:
    """The last message of a chunk, as `last_message` tells it; None where its file is gone, damaged or has none."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.num_row_groups:
                return None
            rows = file.read_row_group(file.num_row_groups - 1, use_threads=False).cast(RAW_SCHEMA)
    except (OSError, ValueError, pa.ArrowException):
        return None
    return last_message(rows.combine_chunks().to_batches()[-1])


def verify_chunk(path: Path, record: ChunkRecord) -> None:
    """Read a chunk whole; `ChunkDamaged` unless it is what its record says."""
    for _ in read_chunk(path, record):
        pass
