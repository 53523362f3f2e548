"""How the counts do alone, without factors, beside their baselines."""

from usage_analytics.models.branching.evaluation import Evaluation
from usage_analytics.reporting.terminal import print_table

OWN_FOLDS = "users in the last of the marts' 5 folds"


def print_evaluation(evaluation: Evaluation, held_out: str = OWN_FOLDS) -> None:
    """Print their figures on held-out users, and those of the baselines; ``held_out`` says who they are."""
    rows = [(name, *_figures(scores)) for name, scores in evaluation.baselines.items()]
    rows.append(("counts alone", *_figures(evaluation)))
    columns = ("on held-out users", "R@1", "R@3", "log-loss", "calibration error")
    title = f"Counts alone, {evaluation.transitions:,} held-out transitions: those of {held_out}"
    print_table(title, columns, rows)


def _figures(scores: Evaluation) -> tuple[float, float, float, float]:
    return scores.recall_at_1, scores.recall_at_3, scores.log_loss, scores.calibration_error
