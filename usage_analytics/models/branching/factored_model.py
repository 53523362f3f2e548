"""The next-action model as it is asked: what comes after contexts, by counts or another base, corrected by factors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.models.branching.array_file import Arrays, read_arrays, write_arrays
from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.counts.ngrams import NGramModel
from usage_analytics.models.branching.factors.factors import Factors
from usage_analytics.models.branching.factors.learning import MOST_CELLS, Lesson, learn_factors
from usage_analytics.models.branching.factors.situations import situations_of, together
from usage_analytics.models.branching.sequence_model import Base, CountedSequences
from usage_analytics.models.branching.sessions.coded_sessions import CodedSessions
from usage_analytics.models.branching.sessions.user_sessions import Known, SessionBatch
from usage_analytics.models.branching.users.user_classes import UserClasses

COUNTS_FILE, FACTORS_FILE = "model.parquet", "factors.npz"
_KIND = "factors of a next-action model"
_KEYS, _CLASSES = "user_keys", "user_classes"


@dataclass(frozen=True)
class Origin:
    """What a model was made from, beside its counts."""

    counts_version: int = 0  # of `app_transitions` of its trading day, as the ledger of marts had it
    counts_rule: str | None = None
    lesson_day: str = ""  # the trading day that taught its factors, as ISO 8601 has it
    lesson_events: int = 0  # sampled events of it; half as many for each day that has kept them since


class FactoredModel:
    """A `SequenceModel`: what is known of users and entities is coded by `known`.

    Probabilities are those of the base, which is the counts themselves unless another is given; contexts, and the
    evidence for each, are always those of the counts. The base is not saved.
    """

    def __init__(
        self, counts: NGramModel, factors: Factors, known: Known, base: Base | None = None, origin: Origin = Origin()
    ) -> None:
        self.counts, self.factors, self.known, self.origin = counts, factors, known, origin
        self.base: Base = counts if base is None else base
        self.mini_apps = counts.mini_apps
        self._sequences = CountedSequences(counts, self.base)
        self.reserved = self._sequences.reserved

    def probabilities(self, sessions: CodedSessions) -> Floats:
        """As `SequenceModel` says; the sessions are coded by `mini_apps` and `known`."""
        situations = situations_of(sessions, len(self.mini_apps))
        return self.factors.apply(self._sequences.probabilities(sessions), situations).astype(np.float64)

    def with_base(self, base: Base) -> FactoredModel:
        """The same, with another base."""
        return FactoredModel(self.counts, self.factors, self.known, base, self.origin)

    def save(self, folder: Path) -> None:
        """Write both files of the model."""
        self.counts.save(folder / COUNTS_FILE)
        facts = {
            "mini_apps": self.mini_apps,
            "entities": self.known.entities,
            "counts": hashlib.sha256((folder / COUNTS_FILE).read_bytes()).hexdigest(),
            "origin": asdict(self.origin),
        }
        users = self.known.user_classes
        arrays: Arrays = {**self.factors.arrays(), _KEYS: users.keys, _CLASSES: users.classes}
        write_arrays(folder / FACTORS_FILE, _KIND, facts, arrays)

    @classmethod
    def load(cls, folder: Path) -> FactoredModel:
        """Read what `save` wrote. FileNotFoundError; `UserError` naming a file that is broken or of another model."""
        facts, arrays = read_arrays(folder / FACTORS_FILE, _KIND)
        content = (folder / COUNTS_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != facts.get("counts"):
            told = f"{COUNTS_FILE} is damaged, or of another model than {FACTORS_FILE}; make the model again"
            raise UserError(f"{folder}: {told}")
        try:
            users = UserClasses(arrays.pop(_KEYS), arrays.pop(_CLASSES))
            factors = Factors(**arrays)
            counts, origin = NGramModel.load(folder / COUNTS_FILE), Origin(**facts["origin"])
        except (TypeError, KeyError):
            told = "it holds other factors than this version of the platform knows; make the model again"
            raise UserError(f"{folder / FACTORS_FILE}: {told}") from None
        except ValueError as error:
            raise UserError(str(error)) from None
        return cls(counts, factors, Known(tuple(facts["entities"]), users), origin=origin)


def learn_from_sessions(counts: NGramModel, batches: Iterable[SessionBatch], classes: int, entities: int) -> Factors:
    """The factors that correct counts, from user sessions that were not counted; MOST_CELLS at most."""
    sequences, apps = CountedSequences(counts), len(counts.mini_apps)
    probabilities, situations, actions, users, left = [], [], [], [], MOST_CELLS // apps
    for batch in batches:
        following = batch.sessions.following() - 1
        known = np.flatnonzero(following >= 0)[:left]
        left -= len(known)
        probabilities.append(sequences.probabilities(batch.sessions)[known].astype(np.float32))
        situations.append(situations_of(batch.sessions, apps)[known])
        actions.append(following[known])
        users.append(batch.user_ids.take(pa.array(batch.sessions.sessions_of_predictions()[known])))
        if left <= 0:
            break
    if not actions:
        return Factors.none(apps, classes, entities)
    numbers = pa.concat_arrays(users).dictionary_encode().indices.to_numpy().astype(np.int64)
    lesson = Lesson(np.concatenate(probabilities), together(situations), np.concatenate(actions), numbers)
    lesson = lesson if (np.diff(numbers) >= 0).all() else lesson[np.argsort(numbers, kind="stable")]
    return learn_factors(lesson, classes, entities)
