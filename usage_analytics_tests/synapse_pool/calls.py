"""Remote procedure calls of TDS: how the driver sends a statement with parameters ([MS-TDS] 2.2.6.6).

pysqlbridge reads one call of a packet, no dates, and decimals without their scale: hence this.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any

BY_NUMBER = {10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 15: "sp_unprepare"}
ANOTHER_CALL = (0xFF, 0xFE)
WHOLE = {0x30: 1, 0x34: 2, 0x38: 4, 0x7F: 8}
EXACT = Context(prec=80)
EPOCH = date(1, 1, 1)


@dataclass(frozen=True)
class Call:
    """A procedure and its arguments, in their order."""

    procedure: str
    arguments: list[Any]


class Bytes:
    """A packet's payload, read from its beginning."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 0

    def take(self, count: int) -> bytes:
        taken = self.payload[self.at : self.at + count]
        if len(taken) != count:
            raise ValueError("a remote procedure call that ends too early")
        self.at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self, characters: int) -> str:
        return self.take(2 * characters).decode("utf-16-le")


def calls_in(payload: bytes) -> list[Call]:
    """The calls of one packet."""
    read = Bytes(payload)
    read.take(read.number(4) - 4)  # headers: transaction and trace
    found = []
    while read.at < len(payload):
        length = read.number(2)
        number = read.number(2) if length == 0xFFFF else None
        name = BY_NUMBER.get(number, f"procedure {number}") if number is not None else read.text(length)
        read.take(2)
        arguments = []
        while read.at < len(payload) and payload[read.at] not in ANOTHER_CALL:
            read.text(read.number(1))
            read.take(1)
            arguments.append(_value(read))
        if read.at < len(payload):
            read.take(1)
        found.append(Call(name, arguments))
    return found


def _value(read: Bytes) -> Any:
    kind = read.number(1)
    if kind == 0x1F:
        return None
    if kind in WHOLE:
        return int.from_bytes(read.take(WHOLE[kind]), "little", signed=kind != 0x30)
    if kind in (0x26, 0x68, 0x6D, 0x24):
        read.take(1)
        return _short(kind, read.take(read.number(1)))
    if kind in (0x6A, 0x6C):
        _, _, scale = read.take(3)
        return _decimal(read.take(read.number(1)), scale)
    if kind in (0xE7, 0xEF, 0xA7, 0xAF):
        return _text(read, "utf-16-le" if kind in (0xE7, 0xEF) else "cp1252")
    if kind in (0xA5, 0xAD):
        return _bytes(read)
    if kind == 0x63:  # ntext, which the driver sends for long texts unless LongAsMax=yes
        read.take(9)
        length = read.number(4)
        return None if length == 0xFFFFFFFF else read.take(length).decode("utf-16-le")
    if kind == 0x28:
        return _day(read.take(read.number(1)))
    if kind in (0x29, 0x2A, 0x2B):
        scale = read.number(1)
        return _moment(kind, scale, read.take(read.number(1)))
    raise ValueError(f"a parameter of the type 0x{kind:02x}, which this pool does not read")


def _short(kind: int, raw: bytes) -> Any:
    if not raw:
        return None
    if kind == 0x68:
        return bool(raw[0])
    if kind == 0x6D:
        return struct.unpack("<f" if len(raw) == 4 else "<d", raw)[0]
    if kind == 0x24:
        return uuid.UUID(bytes_le=raw)
    return int.from_bytes(raw, "little", signed=len(raw) > 1)


def _decimal(raw: bytes, scale: int) -> Decimal | None:
    if not raw:
        return None
    digits = int.from_bytes(raw[1:], "little")
    return Decimal(digits if raw[0] else -digits).scaleb(-scale, context=EXACT)


def _bytes(read: Bytes) -> bytes | None:
    if read.number(2) != 0xFFFF:
        length = read.number(2)
        return None if length == 0xFFFF else read.take(length)
    return _chunks(read)


def _text(read: Bytes, encoding: str) -> str | None:
    declared = read.number(2)
    read.take(5)
    if declared == 0xFFFF:
        raw = _chunks(read)
    else:
        length = read.number(2)
        raw = None if length == 0xFFFF else read.take(length)
    return None if raw is None else raw.decode(encoding)


def _chunks(read: Bytes) -> bytes | None:
    if read.number(8) == 0xFFFFFFFFFFFFFFFF:
        return None
    found = b""
    while length := read.number(4):
        found += read.take(length)
    return found


def _day(raw: bytes) -> date | None:
    return EPOCH + timedelta(days=int.from_bytes(raw, "little")) if raw else None


def _moment(kind: int, scale: int, raw: bytes) -> Any:
    if not raw:
        return None
    size = {0x29: len(raw), 0x2A: len(raw) - 3, 0x2B: len(raw) - 5}[kind]
    microseconds = int.from_bytes(raw[:size], "little") * 10**6 // 10**scale
    midnight = datetime.combine(EPOCH, time())
    if kind == 0x29:
        return (midnight + timedelta(microseconds=microseconds)).time()
    days = int.from_bytes(raw[size : size + 3], "little")
    return midnight + timedelta(days=days, microseconds=microseconds)
