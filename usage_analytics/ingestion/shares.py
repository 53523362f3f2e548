"""Shares of a topic's Kafka partitions: disjoint, together all of them, those included that are added later."""

import re
from dataclasses import dataclass
from math import gcd

from usage_analytics.errors import UserError

MOST_SHARES = 64


@dataclass(frozen=True)
class Share:
    """The Kafka partitions whose number modulo ``of`` is ``number``; as text such as ``0/2``."""

    number: int = 0
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def takes(self, kafka_partition: int) -> bool:
        return kafka_partition % self.of == self.number

    def overlaps(self, other: "Share") -> bool:
        """Whether some Kafka partition could be of both."""
        return (self.number - other.number) % gcd(self.of, other.of) == 0


EVERYTHING = Share()


def all_shares(count: int) -> list[Share]:
    """The shares into which a topic is cut."""
    return [Share(number, count) for number in range(count)]


def parse_share(text: str) -> Share:
    """The share that a text such as ``0/2`` names. UserError: it names none."""
    found = re.fullmatch(r"([0-9]{1,2})/([0-9]{1,2})", text)
    share = Share(*map(int, found.groups())) if found else None
    if share is None or not share.number < share.of <= MOST_SHARES:
        raise UserError(
            f"share {text[:20]!r} is none: it is written number/of, such as 0/2 and 1/2 for the halves of the Kafka "
            f"partitions, 0/1 for all of them; at most {MOST_SHARES} shares"
        )
    return share
