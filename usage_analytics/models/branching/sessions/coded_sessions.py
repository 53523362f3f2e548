"""User sessions as codes: what sequence models read, and the mini-apps that they are to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from usage_analytics.models.branching.arrays import Flags, Ints
from usage_analytics.models.branching.counts.transition_counts import SESSION_START


@dataclass(frozen=True)
class CodedSessions:
    """User sessions end to end, each in order: the codes of session i lie at starts[i]:starts[i + 1].

    A code is 1 + the position in the vocabulary, or UNKNOWN. Every event but the first of its session is to be
    predicted: "predictions" are these, in the order of the codes.
    """

    codes: Ints  # (events,)
    starts: Ints  # (sessions + 1,), from 0
    entities: Ints  # (events,) code of what each event was about, by a model's own list; 0: nothing, or not known
    phases: Ints  # (events,) of the trading day: 1 + the position in PHASES; 0: not known
    user_classes: Ints  # (sessions,) class of the user; 0: of none, or not known

    @classmethod
    def of(
        cls,
        sequences: Sequence[Sequence[int]],
        entities: Sequence[Sequence[int]] | None = None,
        user_classes: Sequence[int] | None = None,
        phases: Sequence[Sequence[int]] | None = None,
    ) -> CodedSessions:
        """Sessions given one by one, as codes; without entities, classes or phases, none is known."""
        starts = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        about, then = (
            np.zeros(int(starts[-1]), np.int64) if told is None else _end_to_end(told) for told in (entities, phases)
        )
        of_users = np.zeros(len(sequences), np.int64) if user_classes is None else np.array(user_classes, np.int64)
        return cls(_end_to_end(sequences), starts, about, then, of_users)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> Ints:
        """Events of each session: (sessions,)."""
        return np.diff(self.starts)

    def predicted(self) -> Ints:
        """Place of each event that is to be predicted: (predictions,)."""
        flags = np.ones(len(self.codes), dtype=np.bool_)
        flags[self.starts[:-1][self.lengths() > 0]] = False
        return np.flatnonzero(flags)

    def sessions_of_predictions(self) -> Ints:
        """Which session each prediction belongs to: (predictions,)."""
        return np.repeat(np.arange(len(self)), np.maximum(self.lengths() - 1, 0))

    def following(self) -> Ints:
        """Code of what was opened, by prediction: (predictions,)."""
        return self.codes[self.predicted()]

    def in_hand(self) -> Ints:
        """Code of the entity of the event before each prediction: (predictions,)."""
        return self.entities[self.predicted() - 1]

    def phases_before(self) -> Ints:
        """Code of the phase of the event before each prediction: (predictions,)."""
        return self.phases[self.predicted() - 1]

    def contexts(self, longest: int) -> Ints:
        """Codes before each prediction, nearest first: (predictions, longest); SESSION_START where there are fewer."""
        events = self.predicted()
        begins = np.repeat(self.starts[:-1], self.lengths())[events]
        places = events[:, None] - np.arange(1, longest + 1)
        return np.where(places >= begins[:, None], self.codes[np.maximum(places, 0)], SESSION_START)

    def chosen(self, wanted: Flags) -> CodedSessions:
        """Some of the sessions; wanted: (sessions,)."""
        kept = np.repeat(wanted, self.lengths())
        return CodedSessions(
            codes=self.codes[kept],
            starts=np.append(0, np.cumsum(self.lengths()[wanted])),
            entities=self.entities[kept],
            phases=self.phases[kept],
            user_classes=self.user_classes[wanted],
        )


def _end_to_end(sequences: Sequence[Sequence[int]]) -> Ints:
    return np.array([code for sequence in sequences for code in sequence], dtype=np.int64)
