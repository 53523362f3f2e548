"""TDS between the driver and a session: pysqlbridge does login, TLS and packets, the rest of the protocol is here."""

from __future__ import annotations

import socket
import socketserver
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pysqlbridge.tds.batch import parse_sql_batch
from pysqlbridge.tds.connection import Connection
from pysqlbridge.tds.packet import PacketType
from pysqlbridge.tds.result import QueryError, QueryResult
from pysqlbridge.tds.token import DoneStatus, done, error

from usage_analytics_tests.synapse_pool.calls import Call, calls_in
from usage_analytics_tests.synapse_pool.errors import Dropped, Refused
from usage_analytics_tests.synapse_pool.results import NOTHING, Result
from usage_analytics_tests.synapse_pool.values import encoder, type_info

if TYPE_CHECKING:
    from usage_analytics_tests.synapse_pool.sessions import Session

DONE, DONE_OF_CALL, DONE_WITHIN_CALL = 0xFD, 0xFE, 0xFF
MORE, FAILED, COUNTED = 0x01, 0x02, 0x10
SELECT, INSERT = 0xC1, 0xC3
HANDLE = struct.Struct("<H BB IH 2s B i")


class SessionConnection(Connection):
    """A client's connection, whose statements a session answers."""

    def __init__(self, certificate: Any, session: Session, logins: Any) -> None:
        super().__init__(certificate, query_handler=self._of_transaction, logins=logins, server_name="pool")
        self.session = session

    def _of_transaction(self, query: Any) -> QueryResult:
        """BEGIN, COMMIT and ROLLBACK, which the driver may send as requests of their own."""
        try:
            self.session.batch(query.sql)
        except Refused as refused:
            raise QueryError(str(refused), number=refused.number) from refused
        return QueryResult([], [])

    def _step_query(self, responses: list[bytes]) -> bool:
        message = self._take_message()
        if message is None:
            return False
        if message.type is PacketType.TRANSACTION_MANAGER:
            self._answer_transaction(message.payload, responses)
        elif message.type is PacketType.SQL_BATCH:
            self._send(responses, self._batch(parse_sql_batch(message.payload, self._tds_version)))
        elif message.type is PacketType.RPC:
            calls = calls_in(message.payload)
            last = len(calls) - 1
            self._send(responses, b"".join(self._call(call, number < last) for number, call in enumerate(calls)))
        elif message.type is PacketType.ATTENTION:
            self._send(responses, done(status=DoneStatus.FINAL | DoneStatus.ATTENTION))
        return True

    def _batch(self, sql: str) -> bytes:
        try:
            results = self.session.batch(sql)
            last = len(results) - 1
            return b"".join(
                rows_of(result) + _done(DONE, result, more=number < last) for number, result in enumerate(results)
            ) or _done(DONE, NOTHING)
        except Refused as refused:
            return _error(refused) + struct.pack("<BHHQ", DONE, FAILED, 0, 0)

    def _call(self, call: Call, more: bool) -> bytes:
        try:
            results, handle = self.session.call(call)
            parts = [rows_of(result) + _done(DONE_WITHIN_CALL, result, more=True) for result in results]
        except Refused as refused:
            return _error(refused) + struct.pack("<BHHQ", DONE_OF_CALL, FAILED | (MORE if more else 0), 0, 0)
        parts.append(b"\x79" + struct.pack("<i", 0))
        if handle is not None:
            parts.append(b"\xac" + HANDLE.pack(0, 0, 1, 0, 0, b"\x26\x04", 4, handle))
        return b"".join([*parts, _done(DONE_OF_CALL, NOTHING, more)])


def rows_of(result: Result) -> bytes:
    """The columns and rows of a result; nothing for a statement that has none."""
    if not result.columns:
        return b""
    head = [struct.pack("<BH", 0x81, len(result.columns))]
    for name, kind in result.columns:
        head.append(struct.pack("<IH", 0, 0x0021) + type_info(kind) + bytes([len(name)]) + name.encode("utf-16-le"))
    encoders = [encoder(kind) for _, kind in result.columns]
    return b"".join(head) + b"".join(_row(encoders, row) for row in result.rows)


def _row(encoders: list[Any], row: Iterable[Any]) -> bytes:
    return b"\xd1" + b"".join(encode(value) for encode, value in zip(encoders, row, strict=True))


def _done(token: int, result: Result, more: bool = False) -> bytes:
    if result.count is None:
        return struct.pack("<BHHQ", token, MORE if more else 0, 0, 0)
    command = SELECT if result.columns else INSERT  # the driver counts no rows of other commands
    return struct.pack("<BHHQ", token, (MORE if more else 0) | COUNTED, command, result.count)


def _error(refused: Refused) -> bytes:
    return bytes(error(refused.number, str(refused)[:2000], server="pool"))


class Listener(socketserver.ThreadingTCPServer):
    """Takes connections, a thread for each, until it is closed; that cuts those which are still open."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.open: dict[int, socket.socket] = {}
        super().__init__(("127.0.0.1", 0), Peer)

    def cut_all(self, spared: int | None) -> None:
        """Cut every connection but that of a session."""
        for session, peer in list(self.open.items()):
            if session != spared:
                cut(peer)


class Peer(socketserver.BaseRequestHandler):
    """One client, from its first byte to its last."""

    server: Listener

    def handle(self) -> None:
        pool = self.server.pool
        session = pool.new_session()
        self.server.open[session.number] = self.request
        connection = SessionConnection(pool.certificate, session, pool.logins)
        try:
            while data := self.request.recv(65536):
                for response in connection.receive(data):
                    self.request.sendall(response)
        except Dropped:
            cut(self.request)
        except OSError:
            pass  # the client went away, as one may
        finally:
            session.close()
            self.server.open.pop(session.number, None)


def cut(peer: socket.socket) -> None:
    """End a connection as a lost network does: without a word of TDS or TLS."""
    try:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.shutdown(socket.SHUT_RDWR)
        peer.close()
    except OSError:
        pass
