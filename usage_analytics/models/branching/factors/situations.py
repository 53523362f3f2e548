"""What is known when the next mini-app is predicted, beside the last few: what was opened before, by whom, on what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.arrays import Ints
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions

Rows = npt.NDArray[np.int8]

STEPS = (1, 2, 3, 4, 5, 7, 10, 20)  # since the last visit: where each row of factors begins; the last has no end
NO_MINI_APP = -1


@dataclass(frozen=True)
class Situations:
    """One for each prediction."""

    current: Ints  # (predictions,) position of the mini-app that is open; NO_MINI_APP: one that is not known
    steps: Rows  # (predictions, mini_apps) row of STEPS, from 1 on, since each was last opened; 0: not opened yet
    entities: Ints  # (predictions,) code of what the user has in hand; 0: nothing, or not known
    user_classes: Ints  # (predictions,) 0: none, or not known
    phases: Ints  # (predictions,) of the trading day: 1 + the position in PHASES; 0: not known

    def __len__(self) -> int:
        return len(self.current)

    def __getitem__(self, rows: slice | Ints) -> Situations:
        return Situations(*(getattr(self, name)[rows] for name in Situations.__dataclass_fields__))


def situations_of(sessions: CodedSessions, mini_apps: int) -> Situations:
    """The situation at each prediction, of a vocabulary of so many mini-apps."""
    events = np.arange(len(sessions.codes))
    begins = np.repeat(sessions.starts[:-1], sessions.lengths())
    predicted = np.flatnonzero(events > begins)
    steps = np.zeros((len(predicted), mini_apps), np.int8)
    for position in range(mini_apps):
        here = sessions.codes == position + 1
        latest = np.maximum.accumulate(np.where(here, events, -1))[predicted - 1]
        opened = latest >= begins[predicted]
        steps[:, position] = np.where(opened, np.searchsorted(STEPS, predicted - latest, side="right"), 0)
    return Situations(
        current=np.maximum(sessions.codes[predicted - 1] - 1, NO_MINI_APP),
        steps=steps,
        entities=sessions.in_hand(),
        user_classes=sessions.user_classes[sessions.sessions_of_predictions()],
        phases=sessions.phases_before(),
    )


def together(parts: list[Situations]) -> Situations:
    """The situations of several pieces, in order."""
    return Situations(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Situations.__dataclass_fields__)
    )
