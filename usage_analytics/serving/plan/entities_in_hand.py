"""What users have in hand, at many moments at once: what it makes likelier, and where it leads by itself."""

import numpy as np
import numpy.typing as npt

from usage_analytics.serving.arrays import Ints, Reals
from usage_analytics.serving.plan.key_index import KeyIndex, Keys
from usage_analytics.serving.plan.tables import PlanTables


class EntitiesInHand:
    """A plan's entities by row; the last row is that of none, or of one that the plan does not know."""

    def __init__(self, tables: PlanTables) -> None:
        self._index, self._nowhere = KeyIndex(tables.entity_keys), len(tables.mini_apps)
        starts, leading = tables.entity_starts.astype(np.int64), tables.entity_leads > 0.0
        self._listed = _Lists(starts)
        self._positions, self._factors = tables.entity_positions, tables.entity_factors
        self._leading = _Lists(np.append(0, np.cumsum(leading)).take(starts))
        self._led_to, self._leads = tables.entity_positions[leading], tables.entity_leads[leading]
        self.most_leads = self._leading.longest
        owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        led = np.bincount(owners, tables.entity_leads, len(starts) - 1)
        self._not_led = np.append(1.0 - led, 1.0).astype(np.float32)

    def find(self, entities: Keys) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """The row of each, and whether the plan knows it."""
        found, known = self._index.find(entities)
        return np.where(known, found, -1), known

    def multiply(self, factors: Reals, rows: Ints) -> None:
        """Multiply (moments, mini_apps + 1) factors, in place, by those of what is in hand."""
        counts, entries = self._listed.of(rows)
        cells = np.repeat(np.arange(len(rows)) * factors.shape[1], counts) + self._positions.take(entries)
        factors.ravel()[cells] *= self._factors.take(entries)

    def lead(self, positions: Ints, probabilities: Reals, rows: Ints) -> tuple[Ints, Reals]:
        """Let leads take their part of (candidates, moments) probabilities, and candidates that only they have join.

        Where a moment has fewer of these than another, position mini_apps stands for none.
        """
        counts, entries = self._leading.of(rows)
        owners, led_to, leads = (
            np.repeat(np.arange(len(rows)), counts),
            self._led_to.take(entries),
            self._leads.take(entries),
        )
        probabilities *= self._not_led.take(rows)
        same = positions.take(owners, axis=1) == led_to
        candidates, listed = np.nonzero(same)
        probabilities[candidates, owners[listed]] += leads[listed]
        others = np.flatnonzero(~same.any(axis=0))
        joining, joined = self._side_by_side(owners[others], led_to[others], leads[others], len(rows))
        return np.concatenate([positions, joining]), np.concatenate([probabilities, joined])

    def _side_by_side(self, owners: Ints, led_to: Ints, leads: Reals, moments: int) -> tuple[Ints, Reals]:
        """Of each moment, where it is led, as (candidates, moments); owners are rising."""
        counts = np.bincount(owners, minlength=moments)
        places = np.arange(len(owners)) - (np.cumsum(counts) - counts).take(owners)
        joining = np.full((int(counts.max()), moments), self._nowhere, dtype=np.int64)
        joined = np.zeros(joining.shape, dtype=np.float32)
        joining[places, owners], joined[places, owners] = led_to, leads
        return joining, joined


class _Lists:
    """Lists of entries that lie one after another: list i is [starts[i]:starts[i + 1]], the last one has none."""

    def __init__(self, starts: Ints) -> None:
        self._first, self._count = starts, np.append(np.diff(starts), 0)
        self.longest = int(self._count.max())

    def of(self, rows: Ints) -> tuple[Ints, Ints]:
        """How many entries each of some rows lists, and all of these entries."""
        counts = self._count.take(rows)
        ends = np.cumsum(counts)
        return counts, np.arange(int(ends[-1])) + np.repeat(self._first.take(rows) - ends + counts, counts)
