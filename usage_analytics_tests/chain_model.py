"""The simple model of the whole chain: what was sent, and so what must be raw, an event or a dead letter."""

import json
from dataclasses import dataclass, field

from usage_analytics.contract import Mapping, parse_mapping
from usage_analytics.ingestion.offset_log import ChunkRecord

CONTRACT = """
name = "mine"
version = {version}
[time]
format = "iso8601"
timezone = "UTC"
[fields]
event_id = "/event_id"
event_time = "/event_time"
user = "{user}"
mini_app = "/mini_app"
"""
USERS = ["/user", "/login"]  # where two versions of the contract look for the user
MAPPINGS: list[Mapping] = [
    parse_mapping(CONTRACT.format(version=number, user=user), "mine.toml") for number, user in enumerate(USERS, 1)
]
ON_TIME, LATE, DAYS_LATE = "2026-11-23T14:59:00Z", "2026-11-23T13:01:00Z", "2026-11-19T15:00:00Z"
# What a message holds beside its id and mini-app; None: it is no message that any contract could accept.
KINDS: dict[str, dict[str, str] | None] = {
    "good": {"user": "mary", "login": "mary", "event_time": ON_TIME},
    "late": {"user": "bob", "login": "bob", "event_time": LATE},
    "days late": {"user": "bob", "login": "bob", "event_time": DAYS_LATE},
    "of the first contract": {"user": "ann", "event_time": ON_TIME},
    "of the second contract": {"login": "ann", "event_time": LATE},
    "no JSON": None,
    "tombstone": None,
}


@dataclass
class Sent:
    """All messages that were produced, by Kafka partition and offset."""

    values: dict[int, dict[int, tuple[str, bytes | None]]] = field(default_factory=dict)

    def make(self, kafka_partition: int, offset: int, kind: str) -> bytes | None:
        """A message of a kind, noted as produced there."""
        fields = KINDS[kind]
        value: bytes | None = b"{no JSON" if kind == "no JSON" else None
        if fields is not None:
            event_id = self.event_id(kafka_partition, offset)
            value = json.dumps({"event_id": event_id, "mini_app": "quotes", **fields}).encode()
        self.values.setdefault(kafka_partition, {})[offset] = (kind, value)
        return value

    def forget(self, losses: list[ChunkRecord]) -> None:
        """What was lost need not come through."""
        for loss in losses:
            for offset in range(loss.start, loss.end):
                self.values.get(loss.kafka_partition, {}).pop(offset, None)

    @staticmethod
    def event_id(kafka_partition: int, offset: int) -> str:
        return f"{kafka_partition}-{offset}"

    def raw(self, kafka_partition: int, end: int) -> list[tuple[int, bytes | None]]:
        """Offsets and messages before an offset."""
        return [(o, value) for o, (_, value) in self.values.get(kafka_partition, {}).items() if o < end]

    def events(self, records: list[ChunkRecord], contract: int) -> list[tuple[int, int, str]]:
        """Kafka partition, offset and id of the events that chunks hold under a contract."""
        return [(p, o, self.event_id(p, o)) for p, o, kind, _ in self._of(records) if _accepts(contract, kind)]

    def dead_letters(self, records: list[ChunkRecord], contract: int) -> list[tuple[int, int, bytes | None]]:
        """Kafka partition, offset and bytes of what chunks hold that breaks a contract."""
        return [(p, o, value) for p, o, kind, value in self._of(records) if not _accepts(contract, kind)]

    def _of(self, records: list[ChunkRecord]) -> list[tuple[int, int, str, bytes | None]]:
        found = []
        for record in records:
            for offset, (kind, value) in self.values.get(record.kafka_partition, {}).items():
                if record.start <= offset < record.end:
                    found.append((record.kafka_partition, offset, kind, value))
        return sorted(found, key=lambda place: place[:2])


def _accepts(contract: int, kind: str) -> bool:
    return USERS[contract].removeprefix("/") in (KINDS[kind] or {})
