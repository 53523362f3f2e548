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
from usage_analytics.simulation.truth_folder import day_folder
from usage_analytics.simulation.writing import writing

LABEL_SCHEMA = pa.schema(
    {
        "lane": pa.int32(), "position": pa.int64(), "event_id": pa.string(), "user": pa.string(), "kind": pa.string(),
        "detail": pa.string(), "event_time_us": pa.int64(), "arrival_us": pa.int64(),
    }
)  # fmt: skip
KIND, DETAIL = LABEL_SCHEMA.get_field_index("kind"), LABEL_SCHEMA.get_field_index("detail")
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
        self._open: dict[date, _DayNotes] = {}

    def add(self, batch: Batch) -> None:
        """Take note of a batch that was sent."""
        rows = _labels_of(batch.events, self._lane, self.totals.messages)
        self.totals.planted.update((row[KIND], row[DETAIL]) for _, row in rows)
        self.totals.messages += len(batch.events)
        if self._folder is None:
            return
        for ordinal in np.unique(batch.events["day"]):
            events, day = batch.events[batch.events["day"] == ordinal], date.fromordinal(int(ordinal))
            if day not in self._open:
                self._open[day] = _DayNotes(day_folder(self._folder, day), self._lane)
            self._open[day].add(events, [row for of_day, row in rows if of_day == ordinal])
        for day in self._open.keys() - batch.open_days:
            self._open.pop(day).close()

    def close(self) -> None:
        """Finish the days that were begun."""
        for notes in self._open.values():
            notes.close()
        self._open = {}


class _DayNotes:
    """The notes of one lane on one day."""

    def __init__(self, folder: Path, lane: int) -> None:
        self._labels = _Labels(folder / f"labels-{lane:03d}.parquet")
        self._minutes_path = folder / f"minutes-{lane:03d}.parquet"
        self._minutes: Counter[tuple[int, int, bool]] = Counter()

    def add(self, events: Events, labels: list[tuple[Any, ...]]) -> None:
        self._labels.write(labels)
        good = events[malformed(events) == 0]
        copy = (good["trouble"] & DUPLICATE) != 0
        cell = (good["time_us"] // MINUTE_US * len(MINI_APPS) + good["app"]) * 2 + copy
        for code, count in zip(*np.unique(cell, return_counts=True), strict=True):
            minute, app = divmod(int(code) // 2, len(MINI_APPS))
            self._minutes[minute, app, bool(code % 2)] += int(count)

    def close(self) -> None:
        self._labels.close()
        cells = sorted(self._minutes.items())
        rows = [(minute * MINUTE_US, MINI_APPS[app], copy, count) for (minute, app, copy), count in cells]
        with writing(self._minutes_path):
            temporary = temporary_beside(self._minutes_path)
            pq.write_table(_table(rows, MINUTE_SCHEMA), temporary)
            publish(temporary, self._minutes_path)


def _labels_of(events: Events, lane: int, before: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Day and label of everything planted; ``before`` messages were sent on this lane before these."""
    found: list[tuple[int, tuple[Any, ...]]] = []
    rows = np.flatnonzero(events["trouble"])
    planted = events[rows]
    names = ("trouble", "day", "session", "step", "user", "time_us", "arrival_us")
    columns = (planted[name].tolist() for name in names)
    for row, kind, trouble, day, session, step, user, *times in zip(
        rows.tolist(), malformed(planted).tolist(), *columns, strict=True
    ):
        kinds = [(name, "") for bit, name in LABELS.items() if trouble & bit]
        kinds += [("malformed", MALFORMED_KINDS[kind - 1])] if kind else []
        place = (lane, before + row, event_id(session, step), user_name(user))
        found += [(day, (*place, *each, *times)) for each in kinds]
    return found


class _Labels:
    """A file of labels, written a piece at a time so that a day of any size fits."""

    def __init__(self, path: Path) -> None:
        with writing(path):
            self._path, self._temporary = path, temporary_beside(path)
            self._writer = pq.ParquetWriter(self._temporary, LABEL_SCHEMA, compression="zstd")
        self._rows: list[tuple[Any, ...]] = []

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows += rows
        if len(self._rows) >= 20_000:
            self._flush()

    def close(self) -> None:
        self._flush()
        with writing(self._path):
            self._writer.close()
            publish(self._temporary, self._path)

    def _flush(self) -> None:
        with writing(self._path):
            self._writer.write_table(_table(self._rows, LABEL_SCHEMA))
        self._rows = []


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.names)
    return pa.table([pa.array(c, t) for c, t in zip(columns, schema.types, strict=True)], schema=schema)
