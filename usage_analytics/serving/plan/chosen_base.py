"""What a contest has chosen, kept beside the model of its trading day, and put in the place of the counts by plans."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from usage_analytics.errors import UserError
from usage_analytics.lake.files import naming, publish, remove, temporary_beside
from usage_analytics.lake.layout import Layout
from usage_analytics.models.branching.array_file import Arrays, read_arrays, write_arrays
from usage_analytics.models.branching.challengers.choice import COUNTS, Choice
from usage_analytics.models.branching.context_base import ContextBase
from usage_analytics.models.branching.factored_model import FactoredModel
from usage_analytics.models.branching.training import MODEL

CONTEST_FILE, BASE_FILE = "contest.json", "contest_base.npz"
_KIND = "base of plans that a contest has chosen"


@dataclass(frozen=True)
class Served:
    """A model as plans are made of it."""

    model: FactoredModel
    told: str  # which base it has, and why


def keep_choice(folder: Path, choice: Choice, mini_apps: tuple[str, ...], base: ContextBase | None) -> None:
    """Replace what a contest of the trading day has chosen before; without a base, the counts stay.

    mini_apps: the vocabulary of the base. Whoever dies meanwhile leaves no contest.
    """
    contest = folder / CONTEST_FILE
    remove(contest)
    if base is None:
        remove(folder / BASE_FILE)
    else:
        arrays: Arrays = {"contexts": base.contexts, "probabilities": base.probabilities}
        write_arrays(folder / BASE_FILE, _KIND, {"mini_apps": mini_apps}, arrays)
    temporary = temporary_beside(contest)
    try:
        with naming(contest):
            temporary.write_text(json.dumps(choice.evidence, indent=1), "utf-8")
        publish(temporary, contest)
    finally:
        temporary.unlink(missing_ok=True)


def as_served(layout: Layout, model: FactoredModel) -> Served:
    """With the base that the latest contest up to the model's trading day has chosen.

    The counts stay where there was none, where they won, and where the base cannot be used; it is told why.
    """
    until = model.counts.trading_day
    held = [day for day in layout.model_days(MODEL) if _contest(layout, day).exists() and until and day <= until]
    if not held:
        return Served(model, f"{COUNTS}: no contest was held")
    try:
        chosen = _chosen(_contest(layout, held[-1]))
        if chosen == COUNTS:
            return Served(model, f"{COUNTS}, by the contest of {held[-1]}")
        return Served(model.with_base(_base(layout, held[-1], model)), f"{chosen}, by the contest of {held[-1]}")
    except UserError as error:  # told in the plan's file too, which goes elsewhere: without the folder of the lake
        return Served(model, f"{COUNTS}: {str(error).replace(f'{layout.model(MODEL, held[-1])}/', '')}")


def _contest(layout: Layout, day: date) -> Path:
    return layout.model(MODEL, day) / CONTEST_FILE


def _chosen(contest: Path) -> str:
    try:
        chosen = json.loads(contest.read_text("utf-8"))["chosen"]
        if not isinstance(chosen, str) or not chosen:
            raise ValueError(f"what it has chosen is {chosen!r}, no name")
        return chosen
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{contest} is broken: {error!r}") from None


def _base(layout: Layout, day: date, model: FactoredModel) -> ContextBase:
    path = layout.model(MODEL, day) / BASE_FILE
    try:
        facts, arrays = read_arrays(path, _KIND)
    except FileNotFoundError:
        raise UserError(f"{path}, which the contest of {day} has chosen, is not there") from None
    if tuple(facts["mini_apps"]) != model.mini_apps:
        raise UserError(f"the mini-apps are others than in the contest of {day}; hold another one")
    return ContextBase(arrays["contexts"], arrays["probabilities"])
