"""What a lane really sent: a label for each message with something planted, and counts by minute.

<truth>/day=<day>/labels-<lane>.parquet   kind and detail, event id, user, position in the lane; a row for each kind
<truth>/day=<day>/minutes-<lane>.parquet  messages that keep the contract, by minute of event time and mini-app

The position counts a lane's messages from 0: in a new topic it is the Kafka offset. Times are epoch microseconds.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.simulation.catalogue import MINI_APPS
from usage_analytics.simulation.events import Events
from usage_analytics.simulation.lanes import Batch
from usage_analytics.simulation.market_day import MINUTE_US
from usage_analytics.simulation.rendering import event_id, user_name
from usage_analytics.simulation.scenario import MALFORMED_KINDS
from usage_analytics.simulation.trouble import DUPLICATE, LABELS, malformed
from usage_analytics.simulation.truth import day_folder

LABEL_SCHEMA = pa.schema(
    {
        "lane": pa.int32(), "position": pa.int64(), "event_id": pa.string(), "user": pa.string(), "kind": pa.string(),
        "detail": pa.string(), "event_time_us": pa.int64(), "arrival_us": pa.int64(),
    }
)  # fmt: skip
MINUTE_SCHEMA = pa.schema(
    {"minute_us": pa.int64(), "mini_app": pa.string(), "duplicate": pa.bool_(), "messages": pa.int64()}
)


@dataclass
class Totals:
    """What was sent: all messages, and those with something planted, by kind and detail."""

    messages: int = 0
    bytes: int = 0
    planted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(self.messages + other.messages, self.bytes + other.bytes, self.planted + other.planted)


class LaneTruth:
    """Takes note of what one lane sends, and writes it day by day; without a folder it only counts."""

    def __init__(self, folder: Path | None, lane: int) -> None:
        self.totals = Totals()
        self._folder, self._lane = folder, lane
        self._day: date | None = None
        self._labels: _Labels | None = None
        self._minutes: Counter[tuple[int, int, bool]] = Counter()

    def add(self, batch: Batch) -> None:
        """Take note of a batch that was sent."""
        if self._day != batch.market.day:
            self.close()
            self._open(batch.market.day)
        labels = self._label(batch.events)
        if self._labels is not None:
            self._labels.write(labels)
            self._count(batch.events[malformed(batch.events) == 0])
        self.totals.messages += len(batch.events)

    def close(self) -> None:
        """Finish the day that was begun."""
        if self._day is not None and self._labels is not None and self._folder is not None:
            self._labels.close()
            path = day_folder(self._folder, self._day) / f"minutes-{self._lane:03d}.parquet"
            temporary = temporary_beside(path)
            pq.write_table(self._counted(), temporary)
            publish(temporary, path)
        self._day, self._labels, self._minutes = None, None, Counter()

    def _open(self, day: date) -> None:
        self._day = day
        if self._folder is not None:
            self._labels = _Labels(day_folder(self._folder, day) / f"labels-{self._lane:03d}.parquet")

    def _label(self, events: Events) -> list[tuple[Any, ...]]:
        rows = np.flatnonzero(events["trouble"])
        found: list[tuple[Any, ...]] = []
        for row, event, kind in zip(rows, events[rows], malformed(events[rows]), strict=True):
            kinds = [(name, "") for bit, name in LABELS.items() if event["trouble"] & bit]
            kinds += [("malformed", MALFORMED_KINDS[kind - 1])] if kind else []
            self.totals.planted.update(kinds)
            place = (self._lane, self.totals.messages + int(row), event_id(int(event["session"]), int(event["step"])))
            times = (int(event["time_us"]), int(event["arrival_us"]))
            found += [(*place, user_name(int(event["user"])), *each, *times) for each in kinds]
        return found

    def _count(self, good: Events) -> None:
        copy = (good["trouble"] & DUPLICATE) != 0
        cell = (good["time_us"] // MINUTE_US * len(MINI_APPS) + good["app"]) * 2 + copy
        for code, count in zip(*np.unique(cell, return_counts=True), strict=True):
            minute, app = divmod(int(code) // 2, len(MINI_APPS))
            self._minutes[minute, app, bool(code % 2)] += int(count)

    def _counted(self) -> pa.Table:
        cells = sorted(self._minutes.items())
        rows = [(minute * MINUTE_US, MINI_APPS[app], copy, count) for (minute, app, copy), count in cells]
        return _table(rows, MINUTE_SCHEMA)


class _Labels:
    """A file of labels, written a piece at a time so that a day of any size fits."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, temporary_beside(path)
        self._writer = pq.ParquetWriter(self._temporary, LABEL_SCHEMA, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows += rows
        if len(self._rows) >= 20_000:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()
        publish(self._temporary, self._path)

    def _flush(self) -> None:
        self._writer.write_table(_table(self._rows, LABEL_SCHEMA))
        self._rows = []


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.names)
    return pa.table([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)
