"""Remembers where each Kafka partition began when its topic was first seen.

Until a Kafka partition has a record, nothing else tells whether Kafka has deleted messages of it since: what is deleted
shows only as a later beginning. One file per topic, created exclusively by the first run that sees it. A Kafka
partition that the file does not name was added later, so it began at 0.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.ingestion.record_files import crc_of
from usage_analytics.lake.files import create_exclusive

BEGINNINGS = "beginnings"  # beside the folders of Kafka partitions
FORMAT = 1


@dataclass(frozen=True)
class Beginnings:
    """The first offset that Kafka held of each Kafka partition of a topic, when that was first seen."""

    topic_id: str
    lows: dict[int, int]

    def of(self, kafka_partition: int) -> int:
        """Where a Kafka partition began."""
        return self.lows.get(kafka_partition, 0)


def remember(offsets: Path, beginnings: Beginnings) -> None:
    """Keep them beside the records in the folder ``offsets``, unless another run was first."""
    fields = {"topic_id": beginnings.topic_id, "lows": {str(p): low for p, low in sorted(beginnings.lows.items())}}
    content = json.dumps({"format": FORMAT, **fields, "crc": crc_of(fields)}).encode()
    name = beginnings.topic_id.encode().hex() or "no_id"  # a topic's id may hold a slash
    create_exclusive(offsets / BEGINNINGS / f"{name}.json", content)


def remembered(offsets: Path, topic_id: str) -> Beginnings | None:
    """Those of a topic; None where none are kept. Where no id is told, then or now, it is taken for the same topic."""
    found = [known for known in all_remembered(offsets) if topic_id in ("", known.topic_id) or not known.topic_id]
    return min(found, key=lambda known: known.topic_id != topic_id, default=None)


def all_remembered(offsets: Path) -> list[Beginnings]:
    """Those of every topic of this name; more than one only where it was created again before anything was landed."""
    return [_read(path) for path in sorted((offsets / BEGINNINGS).glob("*.json"))]


def _read(path: Path) -> Beginnings:
    try:
        fields = json.loads(path.read_bytes())
        if fields.pop("format") != FORMAT:
            raise UserError(f"{path}: written by another version of the platform")
        if fields.pop("crc") != crc_of(fields):
            raise ValueError("it is not as it was written")
        return Beginnings(str(fields["topic_id"]), {int(p): int(low) for p, low in fields["lows"].items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}, which says where Kafka partitions began, is damaged: {error}; restore it from a copy of the "
            "lake, or delete it: Kafka partitions without a record are then landed from where they begin now"
        ) from None
