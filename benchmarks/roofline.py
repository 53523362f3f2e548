"""What the parts of ingestion cost apart, each alone on one core, and how far the whole is from their sum.

    .venv/bin/python benchmarks/roofline.py --messages 2000000

Messages of a simulated day are read from an embedded broker and held in memory; each step then goes over all of them by
itself, in chunks and batches as ingestion has them. The least of three rounds counts. "Compress" is what zstd adds to
writing the same columns without it. The whole is what a micro-batch does, on one thread and on two.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from ingestion import send

from usage_analytics import parts
from usage_analytics.enrichment.enriched_chunk import REPEATING
from usage_analytics.enrichment.judge import Judge
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.lake.sealed_parquet import write_sealed
from usage_analytics.micro_batch import land_window
from usage_analytics.settings import PREFIX, Settings, load_settings

PARTITIONS = 4
ROUNDS = 3
Chunk = list[pa.RecordBatch]


def main() -> None:
    """Send the messages, measure the steps and the whole, print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_700_000, help="of an ordinary day; some more are sent")
    messages = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {PREFIX + "HOME": home, PREFIX + "MAX_MESSAGES_PER_RUN": str(10**9)}
        os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)
        settings = load_settings()
        with EmbeddedBroker.start(settings.broker_directory) as broker:
            send(broker.bootstrap_servers, settings.topic, messages, PARTITIONS)
            chunks = consume(settings)
            count = sum(batch.num_rows for chunk in chunks for batch in chunk)
            print(f"{'step':<28}{'CPU s/million':>15}", flush=True)
            total = 0.0
            for name, cost in steps(settings, chunks, Path(home)):
                total += cost
                print(f"{name:<28}{cost / count * 1e6:>15.2f}", flush=True)
            print(f"{'sum':<28}{total / count * 1e6:>15.2f}", flush=True)
            for threads in (1, 2):
                whole = least(partial(ingest, threads))
                print(
                    f"{f'the whole, threads: {threads}':<28}{whole / count * 1e6:>15.2f}{whole / total:>9.0%}",
                    flush=True,
                )


def steps(settings: Settings, chunks: list[Chunk], folder: Path) -> Iterator[tuple[str, float]]:
    """Each step of ingestion, and its CPU seconds over all messages."""
    judge = parts.enricher(settings)._judge
    events = [judged(judge, chunk).combine_chunks() for chunk in chunks]
    yield "consume", least(lambda: consume(settings))
    yield "parse, type, pseudonymise", least(lambda: [judged(judge, chunk) for chunk in chunks])
    for name, write in (
        ("raw", lambda: [write_raw(folder / "raw.parquet", chunk) for chunk in chunks]),
        ("events", lambda: [write_sealed(table, folder / "events.parquet", {}, REPEATING) for table in events]),
    ):
        compressed = least(write)
        with without_compression():
            plain = least(write)
        yield f"write {name}", plain
        yield f"compress {name}", compressed - plain


def consume(settings: Settings) -> list[Chunk]:
    """All messages, in batches as ingestion has them, and these in chunks."""
    chunks: list[Chunk] = []
    with parts.kafka_source(settings) as source:
        for partition, marks in source.watermarks().items():
            rows = settings.chunk_messages  # so that each Kafka partition begins a chunk
            for batch in source.read(partition, marks.low, marks.high, settings.batch_messages):
                if rows >= settings.chunk_messages:
                    chunks.append([])
                    rows = 0
                chunks[-1].append(batch)
                rows += batch.num_rows
    return chunks


def judged(judge: Judge, chunk: Chunk) -> pa.Table:
    """The usage events of a chunk."""
    return judge.judge(chunk, "topic", 0)[0]


def write_raw(path: Path, chunk: Chunk) -> None:
    writer = ChunkWriter(path)
    for batch in chunk:
        writer.write(batch)
    writer.close(0)


def ingest(threads: int) -> None:
    """A micro-batch of all messages, into an empty lake."""
    os.environ[PREFIX + "PARALLEL"] = str(threads)
    settings = load_settings()
    rmtree(settings.lake, ignore_errors=True)
    now = datetime.now(UTC)
    land_window(settings, settings.calendar.window_at(now), now)


@contextmanager
def without_compression() -> Iterator[None]:
    writer = pq.ParquetWriter

    def plain(*arguments: Any, **options: Any) -> pq.ParquetWriter:
        del options["compression_level"]
        return writer(*arguments, **{**options, "compression": "none"})

    with patch.object(pq, "ParquetWriter", plain):
        yield


def least(work: Callable[[], object]) -> float:
    """CPU seconds of the cheapest of some rounds."""
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        costs.append(time.process_time() - began)
    return min(costs)


if __name__ == "__main__":
    main()
