"""Looks after what a simulation sends until the platform has landed it: never more than Kafka keeps.

A topic that keeps only so many bytes deletes what was not landed in time, in silence. So the simulation is held back
while too much waits, and ends with a sentence if Kafka has deleted anything of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from usage_analytics.errors import UserError
from usage_analytics.ingestion.planning import MessageSource, Watermarks
from usage_analytics.ingestion.retention import Retention

KEPT_SHARE = 0.5  # of what a topic keeps, this much may wait
MESSAGE_BYTES = 600  # with its overhead in Kafka, uncompressed
PATIENCE_S = 600.0


@dataclass
class Backpressure:
    """Counts what waits to be landed. ``most_waiting`` is for each Kafka partition; None never holds back."""

    source: MessageSource
    committed: Callable[[], dict[int, int]]
    most_waiting: int | None
    waiting: int = 0
    holding: bool = False
    _started: dict[int, Watermarks] = field(default_factory=dict)
    _landed: int = -1
    _landed_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._started = self.source.watermarks()

    def allowance(self, sent: int) -> float:
        """How many more messages may be sent now, of which ``sent`` were handed to the producers so far.

        Lost messages, or ten minutes in which nothing is landed, are a `UserError`.
        """
        committed, marks = self.committed(), self.source.watermarks()
        for partition, mark in marks.items():
            self._refuse_loss(partition, mark, committed.get(partition, 0))
        waits = {p: mark.high - max(committed.get(p, 0), mark.low) for p, mark in marks.items()}
        self.waiting = sum(waits.values())
        if self.most_waiting is None:
            return float("inf")
        arrived = sum(mark.high - self._begin(partition) for partition, mark in marks.items())
        room = len(marks) * (self.most_waiting - max(waits.values())) - (sent - arrived)
        self.holding = room <= 0
        self._refuse_standstill(sum(committed.values()))
        return max(0, room)

    def _begin(self, partition: int) -> int:
        return self._started[partition].high if partition in self._started else 0

    def _refuse_loss(self, partition: int, mark: Watermarks, landed: int) -> None:
        first = max(self._begin(partition), landed)
        if mark.low > first:
            place = f"topic {self.source.topic!r}, Kafka partition {partition}"
            told = f"Kafka deleted simulated messages {first} to {mark.low} before they were landed"
            raise UserError(f"{place}: {told}; let it keep more, land meanwhile, or set --max-waiting")

    def _refuse_standstill(self, landed: int) -> None:
        now = time.monotonic()
        if landed != self._landed or not self.holding:
            self._landed, self._landed_at = landed, now
        elif now - self._landed_at > PATIENCE_S:
            raise UserError(
                f"simulation: {self.waiting:,} messages wait, no more are sent lest Kafka delete them, and nothing was "
                f"landed for {PATIENCE_S / 60:.0f} minutes (see usage-analytics ui, or materialize raw_messages)"
            )


def most_waiting(retention: Retention) -> int | None:
    """How many messages of a Kafka partition may wait, by what its topic keeps; None where that is not limited."""
    kept = retention.size_bytes
    return int(kept * KEPT_SHARE / MESSAGE_BYTES) if kept else None
