"""Simulated events as JSON messages by the platform's own contract, about 500 bytes each.

Whole columns are put together from prepared pieces; a Python object per message is made only at the very end.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from usage_analytics.simulation import randomness
from usage_analytics.simulation.catalogue import (
    ASSET_CLASSES,
    DESKS,
    FAMILY_OF,
    INSTRUMENTS_PER_CLASS,
    MINI_APPS,
    PERSONAS,
)
from usage_analytics.simulation.events import ACTIONS, Events, instrument_names
from usage_analytics.simulation.market_day import schema_change_us
from usage_analytics.simulation.population import Population, firm_names, region
from usage_analytics.simulation.randomness import Bits, Flags, Ints
from usage_analytics.simulation.scenario import MALFORMED_KINDS
from usage_analytics.simulation.trouble import malformed

CLIENTS = ("9.14.2", "9.14.3", "9.15.0")
SYSTEMS = ("Windows 11", "Windows 10", "Citrix")
HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True)
class Messages:
    """What goes to Kafka: keys and values in order of arrival, and when each arrives (epoch microseconds)."""

    keys: list[bytes]
    values: list[bytes | None]
    arrival_us: Ints

    @property
    def bytes(self) -> int:
        """Of all values."""
        return sum(map(len, filter(None, self.values)))


class Renderer:
    """Renders the events of some users, ``users`` ascending."""

    def __init__(self, everyone: Population, users: Ints) -> None:
        self._users = users
        self._schema_change_us = schema_change_us(everyone.scenario)
        self._user_pieces = _pieces(_user_pieces(everyone, users))
        self._keys = np.array([user_name(user).encode() for user in users.tolist()], object)
        self._app_pieces = _pieces(
            _app_piece(app, action, popup, opening)
            for opening in ("", '"timing":{')
            for popup in (False, True)
            for app in MINI_APPS
            for action in ACTIONS
        )
        self._instruments = _pieces(
            f'"instrument":"{name}","asset_class":"{ASSET_CLASSES[n // INSTRUMENTS_PER_CLASS]}","payload_bytes":'
            for n, name in enumerate(instrument_names())
        )

    def render(self, events: Events) -> Messages:
        """The messages of events that are in order of arrival."""
        user = np.searchsorted(self._users, events["user"])
        values = self._values(events, user, self._second_version(events)).to_pylist()
        kinds = malformed(events)
        for position in np.flatnonzero(kinds):
            values[position] = DEFECTS[MALFORMED_KINDS[kinds[position] - 1]](values[position])
        return Messages(self._keys[user].tolist(), values, events["arrival_us"].copy())

    def _second_version(self, events: Events) -> Flags:
        change = self._schema_change_us
        return np.zeros(len(events), bool) if change is None else np.asarray(events["time_us"] >= change)

    def _values(self, events: Events, user: Ints, second: Flags) -> pa.Array:
        version = second.astype(np.int64)
        app = ((version * 2 + events["popup"]) * len(MINI_APPS) + events["app"]) * len(ACTIONS) + events["action"]
        session, step = _hexadecimal(events["session"]), _number(events["step"])
        seconds, microseconds = np.divmod(events["time_us"], 1_000_000)
        latency, tenth = np.divmod(events["latency_tenths"], 10)
        return pc.binary_join_element_wise(
            _taken(_pieces(['{"v":1,"event_id":"', '{"v":2,"event_id":"']), version),
            session, b"-", step, b'","event_time":"', _clock(seconds), _digits(microseconds, 6),
            _taken(self._app_pieces, app), _number(latency), b".", _digits(tenth, 1),
            _taken(_pieces([',"user_session":"', '},"user_session":"']), version), session,
            _taken(self._user_pieces, user), _taken(self._instruments, events["instrument"]),
            _number(events["payload_bytes"]), b',"step":', step, b"}}", b"",
        )  # fmt: skip


def user_name(user: int) -> str:
    """The user's name in messages."""
    return f"u{user:07d}"


def event_id(session: int, step: int) -> str:
    """The identifier of an event in messages."""
    return f"{session:016x}-{step}"


def _user_pieces(everyone: Population, users: Ints) -> Iterator[str]:
    roles, desks, firms = sorted({p.role for p in PERSONAS}), list(DESKS), firm_names()
    regions = [region(exchange) for exchange in everyone.scenario.exchanges]
    seats = (randomness.bits(everyone.stream("seat"), users) >> np.uint64(33)).tolist()
    traits = (everyone.firm, everyone.exchange, everyone.desk, everyone.role)
    for user, seat, *which in zip(users.tolist(), seats, *(trait[users].tolist() for trait in traits), strict=True):
        firm, exchange, desk, role = which
        client, system = CLIENTS[seat % len(CLIENTS)], SYSTEMS[seat // 7 % len(SYSTEMS)]
        yield (
            f'","user":"{user_name(user)}","client_firm":"{firms[firm]}",'
            f'"properties":{{"region":"{regions[exchange]}","desk":"{desks[desk]}","role":"{roles[role]}",'
            f'"client_version":"{client}","system":"{system}","screens":{1 + seat % 5},'
            f'"workspace":"{desks[desk]} default",'
        )


def _app_piece(app: str, action: str, popup: bool, opening: str) -> str:
    screen = f"{'popup' if popup else FAMILY_OF[app]}/{app}"
    return f'Z","mini_app":"{app}","action":"{action}","screen":"{screen}",{opening}"latency_ms":'


def _pieces(texts: Iterable[str]) -> pa.Array:
    return pa.array([text.encode() for text in texts], pa.binary())


def _taken(pieces: pa.Array, positions: Ints) -> pa.Array:
    return pieces.take(pa.array(np.ascontiguousarray(positions)))


def _hexadecimal(words: Bits) -> pa.Array:
    octets = words.astype(">u8").view(np.uint8).reshape(-1, 8)
    out = np.empty((len(words), 16), np.uint8)
    out[:, 0::2], out[:, 1::2] = HEXADECIMAL[octets >> 4], HEXADECIMAL[octets & 15]
    return _fixed(out)


def _digits(numbers: Ints, width: int) -> pa.Array:
    out = np.empty((len(numbers), width), np.uint8)
    rest = numbers
    for place in range(width - 1, -1, -1):
        rest, digit = np.divmod(rest, 10)
        out[:, place] = digit + ord("0")
    return _fixed(out)


def _fixed(octets: npt.NDArray[np.uint8]) -> pa.Array:
    rows, width = octets.shape
    ends = pa.py_buffer(np.arange(0, (rows + 1) * width, width, dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), rows, [None, ends, pa.py_buffer(octets)])


def _number(numbers: Ints) -> pa.Array:
    return pa.array(np.ascontiguousarray(numbers)).cast(pa.string()).cast(pa.binary())


def _clock(seconds: Ints) -> pa.Array:
    distinct, position = np.unique(seconds, return_inverse=True)
    texts = np.datetime_as_string(distinct.astype("M8[s]"))
    return _taken(pa.array([f"{text}.".encode() for text in texts], pa.binary()), position)


def _cut_short(message: bytes) -> bytes:
    return message[: len(message) * 3 // 5]


def _garbled(message: bytes) -> bytes:
    return message[:40] + b"\xff\xfe" + message[40:]


# How each kind of malformed message comes about. Named as the contract's reasons are.
DEFECTS: dict[str, Callable[[bytes], bytes | None]] = {
    "empty_message": lambda message: None,
    "not_utf8": _garbled,
    "not_json": _cut_short,
    "not_an_object": lambda message: b"[" + message + b"]",
    "missing_field": lambda message: message.replace(b'"mini_app":', b'"miniapp":', 1),
    "wrong_type": lambda message: re.sub(rb'"latency_ms":([0-9.]+)', rb'"latency_ms":"\1 ms"', message, count=1),
    "absurd_time": lambda message: re.sub(rb'"event_time":"\d{4}', b'"event_time":"1970', message, count=1),
}
