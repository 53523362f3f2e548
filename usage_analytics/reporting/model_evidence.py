"""What a next-action model rests on, as the metadata of its asset."""

from __future__ import annotations

from usage_analytics.models.branching.evaluation import Evaluation
from usage_analytics.models.branching.scoring import Scores
from usage_analytics.models.branching.training import Trained

FIGURES = ("recall_at_1", "recall_at_3", "log_loss", "calibration_error")


def evidence_of(trained: Trained) -> dict[str, int | float | bool | str]:
    """How much it learned from, and its figures where it was judged."""
    model = trained.model
    learned: dict[str, int | float | bool | str] = {
        "dagster/row_count": model.counts.transitions,
        "mini_apps": len(model.mini_apps),
        "user_classes": len(model.factors.classes) - 1,
        "users_with_a_class": len(model.known.user_classes.keys),
        "entities": len(model.known.entities),
        "factors_of": model.origin.lesson_day,
        "time_of_day_pays": bool((model.factors.phases != 1.0).any()),
    }
    return {**learned, **_of_users(trained.held_out_users), **_of_day(trained.held_out_day)}


def _of_users(evaluation: Evaluation | None) -> dict[str, float]:
    if evaluation is None:
        return {}
    figures = {f"counts_alone_{name}": getattr(evaluation, name) for name in FIGURES}
    for baseline, scores in evaluation.baselines.items():
        figures |= {f"{baseline} {name}".replace(" ", "_").replace("-", "_"): getattr(scores, name) for name in FIGURES}
    return figures


def _of_day(scores: Scores | None) -> dict[str, float]:
    if scores is None:
        return {}
    return {f"model_of_the_day_before_{name}": getattr(scores, name) for name in ("predictions", *FIGURES)}
