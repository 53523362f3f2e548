"""Parquet files that show when they are not whole: missing, cut short, or changed by a single bit.

The footer of such a file holds its seal: the file's size, and a CRC-32 of all its bytes, in which the seal's own place
counts as blank. Size and a readable footer are looked at every time, for next to nothing; all bytes only when asked.
Parquet's page checksums, written too for readers that know nothing of seals, cover neither page headers nor the footer:
of a small file three bytes in ten could change unnoticed.
"""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.lake.files import naming, publish, temporary_beside
from usage_analytics.lake.pieces import is_text, spans, text_bytes

SEAL = "seal"
BLANK = f"{0:016d} {0:08x}"  # as long as every seal: written first, then replaced in place
BLOCK = 2**20  # bytes read at a time
ROW_GROUP_BYTES = 16 * 2**20  # of text: readers, DuckDB among them, hold a row group or more of them at once


class Damaged(Exception):
    """A file is missing, or not as it was written; says why."""


@dataclass(frozen=True)
class Footer:
    """What a sealed file says of itself: its rows, and the facts it was written with."""

    rows: int
    facts: dict[str, str]


ZSTD, SNAPPY = "zstd", "snappy"


def write_sealed(
    table: pa.Table, path: Path, facts: dict[str, str], repeating: Sequence[str] = (), compression: str = ZSTD
) -> None:
    """Publish a table under a name, with facts in its footer; the same table and facts give the same bytes.

    Columns whose values repeat get dictionaries; of texts that differ they would cost much and save nothing.
    """
    temporary = temporary_beside(path)
    try:
        with naming(path):
            _write(table, temporary, facts, repeating, compression)
        publish(temporary, path)
    except BaseException:  # a full disk would otherwise get fuller at every attempt
        temporary.unlink(missing_ok=True)
        raise


def read_footer(path: Path) -> Footer:
    """Rows and facts of a sealed file; `Damaged` unless it is there, as long as it was, and its footer readable."""
    return _read(path)[0]


def verify_sealed(path: Path) -> Footer:
    """As `read_footer`, and `Damaged` if a single byte differs from those that were written."""
    footer, seal = _read(path)
    try:
        with path.open("rb") as file:
            whole = _seal(file, seal)[1] == seal
    except OSError as error:
        raise Damaged(f"it cannot be read: {error}") from None
    if not whole:
        raise Damaged("its bytes are not those that were written")
    return footer


def _write(table: pa.Table, path: Path, facts: dict[str, str], repeating: Sequence[str], compression: str) -> None:
    options: dict[str, Any] = {"compression": compression, "write_page_checksum": True}
    if compression == ZSTD:
        options["compression_level"] = 1
    # Statistics help to skip what a query does not want: by time, not by the least of all texts.
    options["write_statistics"] = [field.name for field in table.schema if not is_text(field.type)]
    options["use_dictionary"] = list(repeating)
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        for start, end in spans(text_bytes(table), ROW_GROUP_BYTES):
            writer.write_table(table.slice(start, end - start).combine_chunks())  # whatever its batches were
        writer.add_key_value_metadata({**facts, SEAL: BLANK})
    with path.open("r+b") as file:
        place, seal = _seal(file, BLANK)
        file.seek(place)
        file.write(seal.encode())


def _read(path: Path) -> tuple[Footer, str]:
    try:
        metadata, size = pq.read_metadata(path), path.stat().st_size
        facts = {name.decode(): value.decode() for name, value in (metadata.metadata or {}).items()}
        footer, seal = Footer(metadata.num_rows, facts), facts.pop(SEAL)
    except FileNotFoundError:
        raise Damaged("it is gone") from None
    except KeyError:
        raise Damaged("it has no seal") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Damaged(f"its footer cannot be read: {error}") from None
    if not seal.startswith(f"{size:016d} "):
        raise Damaged(f"it has {size} bytes, others than were written")
    return footer, seal


def _seal(file: BinaryIO, present: str) -> tuple[int, str]:
    """Where the seal stands that is in a file now, and the one that belongs there."""
    size = file.seek(-8, os.SEEK_END) + 8  # a Parquet file ends with its footer, the footer's length, and four letters
    footer = size - 8 - int.from_bytes(file.read(4), "little")
    file.seek(footer)
    place = footer + file.read().rfind(present.encode())
    crc = _crc(file, 0, place, 0)
    crc = zlib.crc32(BLANK.encode(), crc)
    crc = _crc(file, place + len(BLANK), size, crc)
    return place, f"{size:016d} {crc:08x}"


def _crc(file: BinaryIO, start: int, end: int, crc: int) -> int:
    file.seek(start)
    for first in range(start, end, BLOCK):
        crc = zlib.crc32(file.read(min(BLOCK, end - first)), crc)
    return crc
