"""Parquet files of user sessions: what is in them, and how they are read, coded, in bounded pieces."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from usage_analytics.errors import UserError
from usage_analytics.lake.pieces import spans
from usage_analytics.models.branching.arrays import Flags, Ints
from usage_analytics.models.branching.counts.transition_counts import UNKNOWN
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.users.user_classes import NO_CLASSES, UserClasses
from usage_analytics.trading_calendar import PHASES

FOLDS = 5
EVENTS_AT_ONCE = 2**14  # bounds memory: probabilities of so many take 64 MB at 500 mini-apps
NO_ENTITY = NO_PHASE = 0
_SESSIONS_AT_ONCE = 2**15

# One row is one user session; a user is whole in one fold.
SESSION_SCHEMA = pa.schema(
    [
        pa.field("trading_day", pa.date32(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("session_number", pa.int64(), nullable=False),
        pa.field("fold", pa.int32(), nullable=False),  # 0 to FOLDS - 1
        pa.field("mini_apps", pa.list_(pa.string()), nullable=False),  # in order, at least one
        pa.field("times_us", pa.list_(pa.int64()), nullable=False),  # one each
        pa.field("entities", pa.list_(pa.string()), nullable=False),  # what each event was about; null: nothing
        pa.field("phases", pa.list_(pa.string()), nullable=False),  # of the trading day, of PHASES; null: not known
    ]
)


@dataclass(frozen=True)
class RowGroup:
    """A part of a file that can be read by itself."""

    path: Path
    number: int
    rows: int
    checksum: int  # of the file's footer, which tells sizes and extremes of all its columns


@dataclass(frozen=True)
class Known:
    """What a model tells apart beside mini-apps: entities, by name, and classes of users."""

    entities: tuple[str, ...] = ()
    user_classes: UserClasses = NO_CLASSES


NOTHING_KNOWN = Known()


@dataclass(frozen=True)
class SessionBatch:
    """Some user sessions: whose they are, what was opened, and when."""

    user_ids: pa.StringArray  # (sessions,)
    sessions: CodedSessions
    times_us: Ints  # (events,)

    @property
    def ended_us(self) -> Ints:
        """Time of the last event of each: (sessions,)."""
        return self.times_us[self.sessions.starts[1:] - 1]

    def chosen(self, wanted: Flags) -> SessionBatch:
        """Some of the sessions; wanted: (sessions,)."""
        times_us = self.times_us[np.repeat(wanted, self.sessions.lengths())]
        return SessionBatch(self.user_ids.filter(pa.array(wanted)), self.sessions.chosen(wanted), times_us)


def row_groups(paths: Iterable[Path]) -> list[RowGroup]:
    """The parts of the files, in order. `UserError` naming a file that is missing, broken or of another schema."""
    found = []
    for path in paths:
        with _naming(path), pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow)
            footer = _footer_checksum(path, file.metadata.serialized_size)
            rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            found += [RowGroup(path, number, count, footer) for number, count in enumerate(rows)]
    return found


def read_sessions(
    paths: Iterable[Path], mini_apps: Sequence[str], folds: Sequence[int], known: Known = NOTHING_KNOWN
) -> Iterator[SessionBatch]:
    """The user sessions of some folds, in the order of the files, some EVENTS_AT_ONCE events at a time.

    Mini-apps outside the vocabulary are UNKNOWN. `UserError` naming the file where it breaks a rule of the schema.
    """
    yield from read_row_groups(row_groups(paths), mini_apps, folds, known)


def read_row_groups(
    groups: Iterable[RowGroup], mini_apps: Sequence[str], folds: Sequence[int], known: Known = NOTHING_KNOWN
) -> Iterator[SessionBatch]:
    """As `read_sessions`, of these parts in this order."""
    vocabulary, entities = pa.array(mini_apps, pa.string()), pa.array(known.entities, pa.string())
    phases = pa.array(PHASES, pa.string())
    for rows in read_rows(groups, folds):
        lengths = pc.list_value_length(rows["mini_apps"]).to_numpy(zero_copy_only=False).astype(np.int64)
        for start, end in spans(lengths, EVENTS_AT_ONCE):
            some = rows.slice(start, end - start)
            sessions = CodedSessions(
                codes=_codes(some["mini_apps"], vocabulary, UNKNOWN),
                starts=np.append(0, np.cumsum(lengths[start:end])),
                entities=_codes(some["entities"], entities, NO_ENTITY),
                phases=_codes(some["phases"], phases, NO_PHASE),
                user_classes=known.user_classes.of(some["user_id"]),
            )
            yield SessionBatch(some["user_id"], sessions, some["times_us"].flatten().to_numpy())


def read_rows(groups: Iterable[RowGroup], folds: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The user sessions of some folds as they are written, of these parts in this order; every rule checked."""
    wanted = pa.array(folds, pa.int32())
    for group in groups:
        for rows in _rows(group):
            chosen = rows.filter(pc.is_in(rows["fold"], value_set=wanted))
            if chosen.num_rows:
                yield chosen


def _codes(names: pa.ListArray, vocabulary: pa.Array, missing: int) -> Ints:
    """1 + the position of each name in the vocabulary, end to end."""
    places = pc.fill_null(pc.index_in(names.flatten(), value_set=vocabulary, skip_nulls=True), missing - 1)
    return places.to_numpy().astype(np.int64) + 1


def _rows(group: RowGroup) -> Iterator[pa.RecordBatch]:
    with _naming(group.path), pq.ParquetFile(group.path, page_checksum_verification=True) as file:
        _check_schema(group.path, file.schema_arrow)
        for batch in file.iter_batches(_SESSIONS_AT_ONCE, [group.number], SESSION_SCHEMA.names):
            rows = pa.RecordBatch.from_arrays([batch[name] for name in SESSION_SCHEMA.names], SESSION_SCHEMA.names)
            rows = _cast(group.path, rows)
            _check_rows(group.path, rows)
            yield rows


def _footer_checksum(path: Path, size: int) -> int:
    with path.open("rb") as file:
        file.seek(-size - 8, os.SEEK_END)  # a Parquet file ends with its footer, the footer's length, and four letters
        return zlib.crc32(file.read())


def _check_schema(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in SESSION_SCHEMA.names if name not in schema.names]
    if missing:
        raise UserError(f"{path}: no file of user sessions, it lacks the columns {', '.join(missing)}")


def _cast(path: Path, rows: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for field in SESSION_SCHEMA:
        try:
            columns.append(rows[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            kind = rows[field.name].type
            raise UserError(f"{path}: column {field.name} holds {kind}, where {field.type} is needed") from None
    return pa.RecordBatch.from_arrays(columns, SESSION_SCHEMA.names)


def _check_rows(path: Path, rows: pa.RecordBatch) -> None:
    apps, times = rows["mini_apps"], rows["times_us"]
    for name in SESSION_SCHEMA.names:
        if rows[name].null_count:
            raise UserError(f"{path}: {rows[name].null_count} user sessions have no {name}")
    lengths = pc.list_value_length(apps)
    rules = {
        "has no event": pc.equal(lengths, 0),
        "has not one time for each mini-app": pc.not_equal(lengths, pc.list_value_length(times)),
        "has not one entity, or null, for each mini-app": pc.not_equal(lengths, pc.list_value_length(rows["entities"])),
        "has not one phase, or null, for each mini-app": pc.not_equal(lengths, pc.list_value_length(rows["phases"])),
        f"is of no fold from 0 to {FOLDS - 1}": pc.or_(pc.less(rows["fold"], 0), pc.greater_equal(rows["fold"], FOLDS)),
    }
    for rule, broken in rules.items():
        if pc.any(broken).as_py():
            raise UserError(f"{path}: the user session of {_first(rows, broken)} {rule}")
    if apps.flatten().null_count or times.flatten().null_count:
        raise UserError(f"{path}: a mini-app or a time in a user session is null")
    ordered = np.diff(times.flatten().to_numpy(), prepend=0) >= 0
    ordered[np.cumsum(lengths.to_numpy()[:-1])] = True
    ordered[:1] = True
    if not ordered.all():
        raise UserError(f"{path}: a user session is not in the order of its times")


def _first(rows: pa.RecordBatch, broken: pa.BooleanArray) -> str:
    row = rows.filter(broken).slice(0, 1).to_pylist()[0]
    return f"user {row['user_id']} on {row['trading_day']}, number {row['session_number']},"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file of user sessions") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: the file of user sessions is broken or cannot be read: {error}") from None
