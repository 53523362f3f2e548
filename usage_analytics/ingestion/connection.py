"""Asks a cluster for its metadata; where no answer comes, tells why: the password, a certificate, the protocol."""

import re
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from usage_analytics.errors import UserError
from usage_analytics.ingestion.client_settings import reason

LOOKS_S = (0.5, 1.0)  # a refused password is told after some tenths of a second; after these, the rest is waited for
PROBE_S = 2.0
NO_ANSWER = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL)
CLOSED = ("Send failed: Broken pipe", "Connection reset by peer")  # as no word at all: it depends on who was quicker
PLAIN_PORT = "PLAINTEXT broker listener"  # how librdkafka tells a port without TLS


class Heard:
    """What a client said of its connections, as its `error_cb`; of several errors the most telling, then the last."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = client
        self._servers = str(client["bootstrap.servers"])
        self._protocol = str(client.get("security.protocol", "plaintext")).upper()
        self._code, self._text = 0, ""
        self._telling = self.from_all = False  # from_all: no broker was left to connect to

    def __call__(self, error: KafkaError) -> None:
        self.note(error.code(), error.str())

    def note(self, code: int, text: str) -> None:
        """An error that the client told."""
        telling = code in REFUSALS or PLAIN_PORT in text
        if code == KafkaError._ALL_BROKERS_DOWN:
            self.from_all = True
        elif telling or not (self._telling or any(sign in text for sign in CLOSED)):
            self._code, self._text, self._telling = code, text, telling

    def forget(self) -> None:
        """All is well again."""
        self._code, self._text = 0, ""
        self._telling = self.from_all = False

    @property
    def cause(self) -> str:
        """Why no answer comes; empty if the client did not say."""
        return re.sub(r" \(after \d+ms in state .*?\)", "", self._text)

    def refusal(self) -> str:
        """The sentence on what does not fit between the settings and the cluster; empty if nothing is known."""
        if self._code == KafkaError._AUTHENTICATION:
            return self._refused_user()
        if not self._telling and (self._text or not self.from_all):
            return ""  # nobody listens there, or it takes its time
        return self._tls_mismatch()

    def guess(self) -> str:
        """What may be the matter where connections are closed without a word; empty if they are not."""
        if self._text or not self.from_all or "SASL" in self._protocol:
            return ""
        return f"it closes connections; does it want a user and a password? KAFKA_SECURITY_PROTOCOL is {self._protocol}"

    def _refused_user(self) -> str:
        why = self.cause.rpartition("SASL authentication error: ")[2]
        if "mechanism handshake failed" in why:
            what = "this way of signing in (KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_MECHANISM)"
        else:
            what = "the user name or the password (KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD)"
        return f"Kafka at {self._server()} refuses {what}: {why}"

    def _tls_mismatch(self) -> str:
        server, protocol = self._server(), self._protocol
        place = f"Kafka at {server}"
        if "SSL" not in protocol:
            told = f"{place} speaks TLS, but KAFKA_SECURITY_PROTOCOL is {protocol}: set it to SASL_SSL or SSL"
            return told if _speaks_tls(server) else ""
        if PLAIN_PORT in self._text:
            return f"{place} does not speak TLS on this port, but KAFKA_SECURITY_PROTOCOL is {protocol}"
        if "certificate verify failed" in self._text:
            why, setting = _certificate_fault(server, self._client.get("ssl.ca.location"))
            return f"the certificate of {place} is not accepted ({setting}): {why}"
        return f"{place} and this client do not agree on TLS: {self.cause}" if self._telling else ""

    def _server(self) -> str:
        # The brokers that a cluster tells of may have other names than those it was asked by.
        found = re.match(r"(?:\w+://)?(\S+:\d+)/", self._text)
        return found[1] if found else self._servers.split(",")[0].strip()


def metadata(
    client: Consumer | AdminClient, heard: Heard, servers: str, timeout_s: float, topic: str | None = None
) -> ClusterMetadata:
    """What the cluster says of itself; no answer is a `UserError`, at once where the settings cannot be right."""
    deadline, looks = time.monotonic() + timeout_s, iter(LOOKS_S)
    while True:
        left_s = deadline - time.monotonic()
        try:
            found = client.list_topics(topic, timeout=max(0.001, min(next(looks, timeout_s), left_s)))
            heard.forget()
            return found
        except KafkaException as error:
            client.poll(0)  # only then does the client tell what it has heard
            if error.args[0].code() not in NO_ANSWER or time.monotonic() > deadline:
                raise no_answer(error, heard, servers, timeout_s) from None
            if heard.from_all and (refusal := heard.refusal()):
                raise UserError(refusal) from None
        time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))


def no_answer(error: KafkaException, heard: Heard, servers: str, timeout_s: float) -> UserError:
    """What is told where Kafka did not answer in time."""
    if refusal := heard.refusal():
        return UserError(refusal)
    return UserError(
        f"Kafka at {servers} did not answer within {timeout_s:g} s: {heard.cause or heard.guess() or reason(error)}"
    )


def _speaks_tls(server: str) -> bool:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        _shake_hands(server, trusting)
    except (OSError, ValueError):
        return False
    return True


def _certificate_fault(server: str, ca: str | None) -> tuple[str, str]:
    # librdkafka says the same of an unknown authority and of another host's certificate.
    try:
        _shake_hands(server, ssl.create_default_context(cafile=ca))
    except ssl.SSLCertVerificationError as error:
        wrong_name = "match" in error.verify_message
        return error.verify_message, "KAFKA_BOOTSTRAP_SERVERS" if wrong_name else "KAFKA_SSL_CA_LOCATION"
    except (OSError, ValueError):
        pass
    return "it could not be verified", "KAFKA_SSL_CA_LOCATION"


def _shake_hands(server: str, context: ssl.SSLContext) -> None:
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    with (
        socket.create_connection((host, int(port)), timeout=PROBE_S) as connection,
        context.wrap_socket(connection, server_hostname=host),
    ):
        pass
