"""What enrichment costs per million messages: CPU, wall time, memory; parsing alone beside the whole.

Messages of the platform's own contract, about 500 bytes each, are written as raw chunks into a temporary folder. Each
stage then goes over all of them, in a process of its own, so that its peak of memory is its own (some 200 MB of it are
libraries). Stages include what stands above them:

  read    the raw chunks, against their checksums
  parse   all JSON pointers of the contract, by DuckDB
  judge   usage events and dead letters, in memory (Judge.judge)
  whole   and their files, on disk (Enricher.enrich)

And `whole_by_sql`: the whole without the scanner in C, as where it was not compiled.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from shutil import rmtree
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment import judge as judging
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.enrichment.judge import Judge
from usage_analytics.ingestion.chunk_file import RAW_SCHEMA, ChunkWriter, read_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord, chunk_name
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import trading_calendar

TOPIC, WINDOW = "usage-messages", "2026-11-23T1000"
OPENING, CLOSE = datetime(2026, 11, 23, 13, tzinfo=UTC), datetime(2026, 11, 23, 22, tzinfo=UTC)
CHUNK_MESSAGES = 250_000
KEY = b"a key for benchmarks only"
MINI_APPS = ["quotes", "charts", "news", "order_ticket", "blotter", "chat", "research", "risk", "watchlist", "alerts"]


@dataclass(frozen=True)
class Raw:
    """The raw chunks that a stage goes over, and how many messages it takes at a time."""

    layout: Layout
    records: list[ChunkRecord]
    batch: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        for record in self.records:
            yield from read_chunk(self.layout.raw_chunk(WINDOW, record.file), record)

    def enricher(self) -> Enricher:
        return Enricher(self.layout, load_mapping("usage_event"), trading_calendar(), KEY, self.batch)


@dataclass(frozen=True)
class Cost:
    """What one stage took: seconds of CPU (all threads) and of the clock, and its process's peak of memory."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=25_000, help="messages parsed at a time (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the temporary lake is made (default: the system's place)")
    chosen = parser.parse_args()
    if chosen.messages < 1 or chosen.batch < 1:
        parser.error("--messages and --batch are at least 1")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        raw, size = in_a_process(written, Path(folder), chosen.messages, chosen.batch)
        print(f"{chosen.messages:,} messages of {size / chosen.messages:.0f} bytes, {chosen.batch:,} at a time\n")
        print(f"{'stage':13}{'CPU s/million':>15}{'wall s/million':>16}{'messages/s':>13}{'peak MB':>9}", flush=True)
        for stage in (read, parse, judge, whole, whole_by_sql):
            cost, millions = in_a_process(measured, stage, raw), chosen.messages / 1e6
            per_million = f"{cost.cpu_s / millions:15.2f}{cost.wall_s / millions:16.2f}"
            rate = f"{chosen.messages / cost.wall_s:13,.0f}"
            print(f"{stage.__name__:13}{per_million}{rate}{cost.peak_mb:9,.0f}", flush=True)


def in_a_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What a function returns, called in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measured(stage: Callable[[Raw], Callable[[], None]], raw: Raw) -> Cost:
    """The cost of a stage's work; what it prepares (connection, calendar) is not counted."""
    work = stage(raw)
    before, started = getrusage(RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, getrusage(RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Cost(cpu, wall, after.ru_maxrss / 1024)


def read(raw: Raw) -> Callable[[], None]:
    def work() -> None:
        for _ in raw.batches():
            pass

    return work


def parse(raw: Raw) -> Callable[[], None]:
    mapping, connection = load_mapping("usage_event"), duckdb.connect()
    connection.execute("SET threads = 1")
    pointers = [pointer for field in mapping.fields for pointer in field.pointers] + [str(mapping.properties_object)]
    query = f"SELECT json_extract_string(decode(value), {pointers}) FROM messages"

    def work() -> None:
        for batch in raw.batches():
            connection.register("messages", pa.Table.from_batches([batch]))
            connection.sql(query).to_arrow_table()

    return work


def judge(raw: Raw) -> Callable[[], None]:
    judge = Judge(load_mapping("usage_event"), trading_calendar(), KEY, raw.batch)

    def work() -> None:
        for batch in raw.batches():
            judge.judge([batch], TOPIC, 0)

    return work


def whole(raw: Raw) -> Callable[[], None]:
    rmtree(raw.layout.usage_events(WINDOW, "").parent, ignore_errors=True)  # what is there already would be kept
    enricher = raw.enricher()

    def work() -> None:
        report = enricher.enrich(raw.records)
        assert (report.enriched_now, report.dead_letters) == (len(raw.records), 0), report.reasons

    return work


def whole_by_sql(raw: Raw) -> Callable[[], None]:
    with patch.object(judging, "scanner", lambda mapping, calendar: None):
        return whole(raw)


def written(folder: Path, messages: int, batch: int) -> tuple[Raw, int]:
    """Made-up messages as raw chunks in a folder, and the size of all messages in bytes."""
    raw, made, size = Raw(Layout(folder, TOPIC), [], batch), made_up_messages(), 0
    for start in range(0, messages, CHUNK_MESSAGES):
        end = min(messages, start + CHUNK_MESSAGES)
        file = f"{chunk_name(TOPIC, 0, start)}.parquet"
        writer = ChunkWriter(raw.layout.raw_chunk(WINDOW, file))
        for first in range(start, end, batch):
            offsets = range(first, min(end, first + batch))
            values = [next(made) for _ in offsets]
            size += sum(map(len, values))
            writer.write(as_batch(offsets, values))
        checksum = writer.close(end)
        raw.records.append(ChunkRecord(TOPIC, 0, start, end, writer.rows, WINDOW, file, checksum))
    return raw, size


def as_batch(offsets: range, values: list[bytes]) -> pa.RecordBatch:
    columns = {
        "kafka_offset": pa.array(offsets),
        "kafka_timestamp_us": pa.repeat(int(CLOSE.timestamp() * 1e6), len(values)),
        "key": pa.nulls(len(values)),
        "value": pa.array(values),
        "headers": pa.nulls(len(values)),
    }
    return pa.record_batch([columns[field.name].cast(field.type) for field in RAW_SCHEMA], schema=RAW_SCHEMA)


def made_up_messages() -> Iterator[bytes]:
    """Clicks of some 50,000 users over one trading day; the same in every run."""
    chance = random.Random(7)
    while True:
        event = {
            "event_id": f"{chance.getrandbits(128):032x}",
            "event_time": (OPENING + chance.random() * (CLOSE - OPENING)).isoformat(timespec="milliseconds"),
            "user": f"user-{chance.randrange(50_000):06d}",
            "client_firm": f"firm-{chance.randrange(300):03d}",
            "user_session": f"{chance.getrandbits(64):016x}",
            "mini_app": chance.choice(MINI_APPS),
            "action": "click",
            "screen": "main/workspace",
            "latency_ms": round(chance.lognormvariate(5, 0.6), 1),
            "properties": {
                "instrument": f"US{chance.randrange(10**10):010d}",
                "payload_bytes": int(chance.lognormvariate(11, 1)),
                "venue": "XNYS",
                "version": "12.4.1",
                "panels": [1, 2, 3, chance.randrange(9)],
                "zoom": 1.25,
                "note": "opened from the menu of financial information",
                "trace": f"{chance.getrandbits(128):032x}",
                "layout": "two columns, charts below",
            },
        }
        yield json.dumps(event, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
