"""How the next-action model does, beside its baselines."""

from usage_analytics.models.branching.evaluation import Evaluation
from usage_analytics.reporting.terminal import print_table


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the model's figures on held-out users, and those of the baselines."""
    rows = [(name, *_figures(scores)) for name, scores in evaluation.baselines.items()]
    rows.append(("next-action model", *_figures(evaluation)))
    columns = ("on held-out users", "R@1", "R@3", "log-loss", "calibration error")
    print_table(f"Next-action model, {evaluation.transitions:,} held-out transitions", columns, rows)


def _figures(scores: Evaluation) -> tuple[float, float, float, float]:
    return scores.recall_at_1, scores.recall_at_3, scores.log_loss, scores.calibration_error
