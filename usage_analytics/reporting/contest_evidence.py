"""What a contest of challengers came to, as Markdown for the metadata of its asset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from usage_analytics.reporting.markdown import table

FIGURES = {
    "recall_at_1": "R@1", "recall_at_3": "R@3", "log_loss": "log-loss", "calibration_error": "calibration error",
    "net_benefit_ms": "net ms per prediction",
}  # fmt: skip
GAINS = {"log_loss_gain": "less log-loss", "net_benefit_gain_ms": "more net ms"}
ERRORS = {"log_loss_gain": "log_loss_gain_standard_error", "net_benefit_gain_ms": "net_benefit_gain_standard_error_ms"}


def contest_told(evidence: Mapping[str, Any]) -> str:
    """Each model as a plan would use it: its figures, what it gained on the counts, and why it is not used."""
    rows = []
    for name, figures in evidence["as_served"].items():
        gains = [_gain(figures, gain) for gain in GAINS]
        rows.append((name, *(_short(figures[figure]) for figure in FIGURES), *gains, figures.get("why_not", "")))
    blank = [""] * (len(FIGURES) + len(GAINS))
    rows += [(name, *blank, f"not trained: {why}") for name, why in evidence["not_trained"].items()]
    return table(("model", *FIGURES.values(), *GAINS.values(), "why not"), rows)


def whole_sessions_told(evidence: Mapping[str, Any]) -> str:
    """Each model by itself, shown the user sessions whole: nothing is chosen by this."""
    figures = [figure for figure in FIGURES if figure != "net_benefit_ms"]
    rows = [(name, *(_short(of[figure]) for figure in figures)) for name, of in evidence["whole_sessions"].items()]
    return table(("model", *(FIGURES[figure] for figure in figures)), rows)


def _gain(figures: Mapping[str, Any], gain: str) -> str:
    if gain not in figures:
        return ""
    return f"{_short(figures[gain])} ± {_short(figures[ERRORS[gain]]) or 'unknown'}"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,.4f}"
