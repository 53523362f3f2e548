"""Factors by which counts are corrected: for going back, what is open, the user's class, what is in hand, the time.

Counts of the last three mini-apps know nothing of what came before them, of the user, of the entity, or of the time.
Here the probability of each mini-app is multiplied by factors, and all are divided by their sum: a log-linear model
with the counts as its base. What an entity leads to by itself is added: of so many steps, a share goes there whatever
was open.
Source of the form: Della Pietra et al., Adaptive language modeling using minimum discriminant estimation, 1992.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from usage_analytics.models.branching.arrays import Reals
from usage_analytics.models.branching.factors.situations import NO_MINI_APP, STEPS, Situations
from usage_analytics.trading_calendar import PHASES


@dataclass(frozen=True)
class Factors:
    """Row 0 of each is of what is not known, or has not happened: ones in factors, zeros in leads.

    The mini-app that is open has the factors of going back alone: it is not gone to, it is stayed in.
    """

    trust: Reals  # (1,) power to which the counts' probabilities are raised: what factors say too need not count twice
    revisits: Reals  # (1 + STEPS, mini_apps) by how long ago it was opened in this user session
    class_revisits: Reals  # (1 + classes, 1 + STEPS) the same by the user's class, whichever mini-app
    after: Reals  # (1 + mini_apps, mini_apps) by what is open: 1 + its position
    classes: Reals  # (1 + classes, mini_apps) by the user's class
    entities: Reals  # (1 + entities, mini_apps) by what is in hand
    phases: Reals  # (1 + PHASES, mini_apps) by the phase of the trading day
    leads: Reals  # (1 + entities, mini_apps) share of all steps that goes there because of what is in hand

    @classmethod
    def none(cls, mini_apps: int, classes: int = 0, entities: int = 0) -> Factors:
        """Factors that change nothing."""

        def ones(*shape: int) -> Reals:
            return np.ones(shape, np.float32)

        return cls(
            trust=ones(1),
            revisits=ones(1 + len(STEPS), mini_apps),
            class_revisits=ones(1 + classes, 1 + len(STEPS)),
            after=ones(1 + mini_apps, mini_apps),
            classes=ones(1 + classes, mini_apps),
            entities=ones(1 + entities, mini_apps),
            phases=ones(1 + len(PHASES), mini_apps),
            leads=np.zeros((1 + entities, mini_apps), np.float32),
        )

    def arrays(self) -> dict[str, Reals]:
        """All of them, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def widened(self, mini_apps: Sequence[str], wider: Sequence[str]) -> Factors:
        """The same for another vocabulary: new mini-apps have factors that change nothing, those gone are left out."""
        held = {name: place for place, name in enumerate(mini_apps)}
        known = np.array([place for place, name in enumerate(wider) if name in held], np.int64)
        theirs = np.array([held[wider[place]] for place in known], np.int64)
        found = Factors.none(len(wider), len(self.classes) - 1, len(self.entities) - 1)
        for name in ("revisits", "classes", "entities", "phases", "leads"):
            getattr(found, name)[:, known] = getattr(self, name)[:, theirs]
        found.after[np.ix_(np.append(0, known + 1), known)] = self.after[np.ix_(np.append(0, theirs + 1), theirs)]
        found.class_revisits[:] = self.class_revisits
        found.trust[:] = self.trust
        return found

    def of(self, situations: Situations) -> Reals:
        """What each probability is multiplied by: (predictions, mini_apps)."""
        user_classes, current = situations.user_classes, situations.current
        going = self.after[current + 1] * self.classes[user_classes] * self.entities[situations.entities]
        going *= self.phases[situations.phases]
        open_ = np.flatnonzero(current != NO_MINI_APP)
        going[open_, current[open_]] = 1.0
        going *= self.revisits[situations.steps, np.arange(self.revisits.shape[1])]
        going *= self.class_revisits[user_classes[:, None], situations.steps]
        return going

    def apply(self, probabilities: npt.NDArray[np.floating], situations: Situations) -> Reals:
        """The corrected probabilities: (predictions, mini_apps); rows sum to one."""
        weighted = probabilities.astype(np.float32) ** self.trust * self.of(situations)
        weighted /= weighted.sum(axis=1, keepdims=True)
        leads = self.leads[situations.entities]
        weighted *= 1.0 - leads.sum(axis=1, keepdims=True)
        return weighted + leads
