"""Apache Kafka behind TLS and passwords, with certificates made on the spot."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from usage_analytics.ingestion.broker_process import HOST, free_port
from usage_analytics_tests.integration import apache_kafka
from usage_analytics_tests.integration.apache_kafka import ApacheKafka

USER = "desktop"
PASSWORD = "correct-horse-battery-staple"
EVENT_HUBS_USER = "$ConnectionString"
EVENT_HUBS_PASSWORD = (
    "Endpoint=sb://desktop.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;"
    "SharedAccessKey=ab/cd+efGHijKLmnOPqrSTuvWXyz0123456789abcde="
)
STORE_PASSWORD = "store-password-of-the-tests"
KEY_PASSWORD = "key-password-of-the-tests"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
EXTENSIONS = """\
subjectAltName = {names}
extendedKeyUsage = serverAuth,clientAuth
"""


@dataclass(frozen=True)
class SecuredKafka:
    """A running one: TLS with and without passwords, TLS under another host's name, and a plain port."""

    kafka: ApacheKafka
    directory: Path
    ports: dict[str, int]

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def server(self, listener: str) -> str:
        return f"{HOST}:{self.ports[listener]}"

    def environment(self, user: str = USER, password: str = PASSWORD, mechanism: str = "PLAIN") -> dict[str, str]:
        """What a person sets to use it."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.server("SASL_SSL"),
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": password,
            "KAFKA_SSL_CA_LOCATION": str(self.ca),
        }


def missing_tools() -> str:
    """What to install before this can run here; empty if nothing."""
    missing = "" if shutil.which("openssl") else "Kafka behind TLS needs openssl. On Debian: apt-get install openssl"
    return apache_kafka.missing_tools() or missing


@contextmanager
def secured_kafka(directory: Path) -> Iterator[SecuredKafka]:
    _certificates(directory)
    ports: dict[str, int] = {}
    for listener in ("SASL_SSL", "SSL", "SASL_PLAINTEXT"):
        ports[listener] = free_port(taken=tuple(ports.values()))
    with ApacheKafka.start(directory / "kafka", _server_settings(directory), ports) as kafka:
        _add_scram_user(kafka)
        yield SecuredKafka(kafka, directory, {**ports, "PLAINTEXT": kafka.port})


def forbid(kafka: ApacheKafka, topic: str) -> None:
    """Nobody but another user may see the topic."""
    _allow_nothing_but(kafka, topic, "other", AclOperation.ALL)


def allow_only_reading(kafka: ApacheKafka, topic: str) -> None:
    """The user may read the topic, but not ask for its settings."""
    _allow_nothing_but(kafka, topic, USER, AclOperation.READ)


def _allow_nothing_but(kafka: ApacheKafka, topic: str, user: str, operation: AclOperation) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    right = AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
    )
    for done in admin.create_acls([right]).values():
        done.result(30)


def _server_settings(directory: Path) -> dict[str, str]:
    users = {USER: PASSWORD, EVENT_HUBS_USER: EVENT_HUBS_PASSWORD}
    told = " ".join(f'user_{user}="{password}"' for user, password in users.items())
    module = "org.apache.kafka.common.security"
    plain = f"{module}.plain.PlainLoginModule required {told};"
    scram = f"{module}.scram.ScramLoginModule required;"
    stores = {
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(directory / "server.p12"),
        "ssl.keystore.password": STORE_PASSWORD,
        "message.max.bytes": str(16 * 2**20),
    }
    other_host = {
        f"listener.name.ssl.{name}": value
        for name, value in (stores | {"ssl.keystore.location": str(directory / "elsewhere.p12")}).items()
        if name.startswith("ssl.")
    }
    sasl = {
        setting
        for listener in ("sasl_ssl", "sasl_plaintext")
        for setting in (
            (f"listener.name.{listener}.plain.sasl.jaas.config", plain),
            (f"listener.name.{listener}.scram-sha-512.sasl.jaas.config", scram),
            (f"listener.name.{listener}.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512"),
        )
    }
    rights = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # who comes by the plain port
        "allow.everyone.if.no.acl.found": "true",
    }
    return {**stores, **other_host, **dict(sasl), **rights}


def _add_scram_user(kafka: ApacheKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
    for done in admin.alter_user_scram_credentials([change]).values():
        done.result(30)


def _certificates(directory: Path) -> None:
    """An authority, another one, and the certificates of this host and of one elsewhere."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("ca", "stranger_ca"):
        _openssl(
            directory, "req", "-x509", *NEW_KEY, "-nodes", "-days", "2", "-subj", f"/CN={name} of a test",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip
    for name, names in {"server": f"IP:{HOST},DNS:localhost", "elsewhere": "DNS:kafka.example.org"}.items():
        (directory / f"{name}.cnf").write_text(EXTENSIONS.format(names=names))
        _openssl(
            directory, "req", *NEW_KEY, "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        _openssl(
            directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-set_serial", str(uuid.uuid4().int % 2**60), "-extfile", f"{name}.cnf", "-out", f"{name}.pem",
        )  # fmt: skip
        _openssl(
            directory, "pkcs12", "-export", "-in", f"{name}.pem", "-inkey", f"{name}.key", "-out", f"{name}.p12",
            "-passout", f"pass:{STORE_PASSWORD}",
        )  # fmt: skip
    _openssl(directory, "ec", "-aes256", "-in", "server.key", "-out", "locked.key", "-passout", f"pass:{KEY_PASSWORD}")


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
