"""The fast way through judgement: messages that plainly keep the contract, read by a small scanner in C (scan.c).

The scanner takes only messages of which it is sure, with the very values that the SQL of `judgement_query` would give;
all others are left to the SQL. Where it was not compiled (no C compiler at installation), or a mapping asks for what it
does not know, the SQL judges everything: slower, with the same result. benchmarks/enrichment.py measures both, as
`whole` and `whole_by_sql`.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from usage_analytics.contract import MappedField, Mapping
from usage_analytics.enrichment.judgement_query import FIELD_PREFIX, LATEST_US, LONGEST, MOST_TEXT, PROPERTY_PREFIX
from usage_analytics.native import compiled_piece
from usage_analytics.trading_calendar import TradingCalendar

KINDS = {"string": 0, "scalar": 1, "number": 2, "instant": 3}
OBJECT_TEXT = 4
BY_SQL_ALONE = "messages are judged by SQL alone"
TIME_FORMATS = {"iso8601": 0, "epoch_s": 1, "epoch_ms": 2, "epoch_us": 3, "epoch_ns": 4}
Places = npt.NDArray[np.int32]


class _Node(ctypes.Structure):
    _fields_ = [("first_edge", ctypes.c_int32), ("edges", ctypes.c_int32)]


class _Edge(ctypes.Structure):
    _fields_ = [
        ("key", ctypes.c_char_p), ("length", ctypes.c_int32), ("node", ctypes.c_int32), ("slot", ctypes.c_int32),
    ]  # fmt: skip


class _Field(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("kind", "required", "first_pointer", "pointers")]


class _Program(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("nodes", "edges", "fields", "pointers")),
        *((name, ctypes.c_int32) for name in ("field_count", "slot_count", "time_format", "utc")),
    ]


class _Columns(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("row", "starts", "lengths", "numbers", "times")),
        ("capacity", ctypes.c_int64),
        ("spaced", ctypes.c_int64),
    ]


@dataclass(frozen=True)
class Scanned:
    """The messages that were taken: their places in the batch, and their values as `judgement_query` names them."""

    rows: Places
    values: pa.Table


class Scanner:
    """Scans batches of `RAW_SCHEMA` for one mapping."""

    def __init__(self, library: ctypes.CDLL, mapping: Mapping, calendar: TradingCalendar) -> None:
        self._library, self._mapping, self._calendar = library, mapping, calendar
        self._fields = [(f, FIELD_PREFIX + f.name, KINDS[f.kind]) for f in mapping.fields]
        self._fields += [(f, PROPERTY_PREFIX + f.name, KINDS[f.kind]) for f in mapping.properties]
        if mapping.properties_object:
            whole = MappedField("properties", (mapping.properties_object,), "object", required=False)
            self._fields.append((whole, "properties", OBJECT_TEXT))
        self._event_time = next(n for n, (f, _, _) in enumerate(self._fields) if f.name == "event_time")
        self._longest = [(n, LONGEST[f.name]) for n, f in enumerate(mapping.fields) if f.name in LONGEST]
        self._program, self._kept = _compile(self._fields, mapping)

    def scan(self, batch: pa.RecordBatch) -> Scanned:
        """What can be taken of a batch."""
        _, ends, content = batch.column("value").buffers()
        offsets = np.frombuffer(ends, np.int32)[batch.column("value").offset :][: batch.num_rows + 1]
        data = np.frombuffer(content, np.uint8) if content is not None else np.empty(0, np.uint8)
        shape = (len(self._fields), batch.num_rows)
        row = np.empty(batch.num_rows, np.int32)
        starts, lengths = np.empty(shape, np.int32), np.empty(shape, np.int32)
        numbers, times = np.empty(shape, np.float64), np.empty(shape, np.int64)
        columns = _Columns(*(a.ctypes.data for a in (row, starts, lengths, numbers, times)), batch.num_rows)
        taken = self._library.scan_messages(
            ctypes.byref(self._program), data.ctypes.data, offsets.ctypes.data, batch.num_rows, ctypes.byref(columns)
        )
        if taken < 0:
            raise MemoryError("no memory to scan messages")
        rows = row[:taken]
        starts, lengths, numbers, times = (a[:, :taken] for a in (starts, lengths, numbers, times))
        credible = self._credible(batch, rows, times[self._event_time])
        credible &= np.maximum(lengths, 0).sum(0, np.int64) <= MOST_TEXT
        for number, longest in self._longest:
            credible &= lengths[number] <= longest
        if not credible.all():  # why not, the SQL says
            rows = rows[credible]
            starts, lengths, numbers, times = (a[:, credible] for a in (starts, lengths, numbers, times))
        found = {}
        for number, (field, name, kind) in enumerate(self._fields):
            if kind == KINDS["number"]:
                found[name] = pa.array(numbers[number], from_pandas=True)
            elif kind == KINDS["instant"]:
                found[name] = pa.array(times[number])
            else:
                compact = kind == OBJECT_TEXT and columns.spaced
                gather = self._library.gather_compact if compact else self._library.gather
                text = _texts(gather, data, starts[number], lengths[number])
                found[name] = text if field.default is None else text.fill_null(field.default)
        return Scanned(rows, pa.table(found))

    def _credible(self, batch: pa.RecordBatch, rows: Places, times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether each event time is neither absurd nor outside the trading days that are known."""
        known_from, known_until = (_us(end) for end in (self._calendar.known_from, self._calendar.known_until))
        received = batch.column("kafka_timestamp_us").to_numpy(zero_copy_only=False)[rows]
        latest = np.where(np.isnan(received), np.inf, received) + self._mapping.future_tolerance_s * 1e6
        earliest, last = max(self._mapping.earliest_us, known_from), min(known_until - 1, LATEST_US)
        return (times >= earliest) & (times <= last) & (times <= latest)


def _texts(gather: Any, data: npt.NDArray[np.uint8], starts: Places, lengths: Places) -> pa.StringArray:
    there = lengths >= 0
    ends, out = np.empty(len(lengths) + 1, np.int32), np.empty(int(lengths[there].sum()), np.uint8)
    starts, lengths = np.ascontiguousarray(starts), np.ascontiguousarray(lengths)
    addresses = [array.ctypes.data for array in (data, starts, lengths, ends, out)]
    gather(*addresses[:3], len(lengths), *addresses[3:])
    valid = None if there.all() else pa.array(there).buffers()[1]
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(ends), pa.py_buffer(out), valid)


def scanner(mapping: Mapping, calendar: TradingCalendar) -> Scanner | None:
    """A scanner for a mapping; None where it was not compiled, or the mapping asks for more than it knows."""
    library = compiled()
    pointers = [p for f in (*mapping.fields, *mapping.properties) for p in f.pointers]
    pointers += [mapping.properties_object] if mapping.properties_object else []
    tokens = [token for pointer in pointers for token in pointer[1:].split("/")]
    # A number may be a place in a list, and an empty key is one that DuckDB reads differently.
    if library is None or mapping.checks or not all(f.pointers for f in mapping.fields):
        return None
    if any(token.isdecimal() or not token for token in tokens):
        return None
    return Scanner(library, mapping, calendar)


@lru_cache(maxsize=1)
def compiled() -> ctypes.CDLL | None:
    """The piece in C; None where it is missing."""
    library = compiled_piece(Path(__file__).parent, "scan", BY_SQL_ALONE)
    if library is None:
        return None
    address, count = ctypes.c_void_p, ctypes.c_int64
    library.scan_messages.argtypes = [address, address, address, count, address]
    library.scan_messages.restype = count
    for gather in (library.gather, library.gather_compact):
        gather.argtypes = [address, address, address, count, address, address]
        gather.restype = None
    return library


def _compile(fields: Sequence[tuple[MappedField, str, int]], mapping: Mapping) -> tuple[_Program, tuple[Any, ...]]:
    """The program, and what must live as long as it."""
    tree: dict[str, Any] = {}
    for field, _, _ in fields:
        for pointer in field.pointers:
            level = tree
            for token in _tokens(pointer):
                level = level.setdefault(token, {})
    nodes, edges, slots = _flattened(tree)
    places: list[_Field] = []
    pointers: list[int] = []
    for field, _, kind in fields:
        places.append(
            _Field(kind, int(field.required or field.otherwise is not None), len(pointers), len(field.pointers))
        )
        pointers += [slots[_tokens(pointer)] for pointer in field.pointers]
    arrays = (
        (_Node * len(nodes))(*(_Node(*node) for node in nodes)),
        (_Edge * len(edges))(*(_Edge(key, len(key), node, slot) for key, node, slot in edges)),
        (_Field * len(places))(*places),
        (ctypes.c_int32 * len(pointers))(*pointers),
    )
    addresses = [ctypes.cast(array, ctypes.c_void_p) for array in arrays]
    utc = int(mapping.timezone == "UTC")
    return _Program(*addresses, len(places), len(edges), TIME_FORMATS[mapping.time_format], utc), (arrays, edges)


def _flattened(tree: dict[str, Any]) -> tuple[list[tuple[int, int]], list[tuple[bytes, int, int]], dict[Any, int]]:
    """Nodes (first edge, edges), edges (key, node or -1, slot), and the slot of each path; the root is node 0."""
    nodes: list[tuple[int, int]] = [(0, 0)]
    edges: list[tuple[bytes, int, int]] = []
    slots: dict[Any, int] = {}
    waiting: list[tuple[int, tuple[str, ...], dict[str, Any]]] = [(0, (), tree)]
    while waiting:
        number, path, children = waiting.pop(0)
        nodes[number] = (len(edges), len(children))
        for token, below in children.items():
            slots[(*path, token)] = len(edges)
            if below:
                nodes.append((0, 0))
                waiting.append((len(nodes) - 1, (*path, token), below))
            edges.append((token.encode(), len(nodes) - 1 if below else -1, len(edges)))
    return nodes, edges, slots


def _tokens(pointer: str) -> tuple[str, ...]:
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


def _us(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6)
