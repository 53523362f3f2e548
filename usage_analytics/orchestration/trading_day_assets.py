"""The assets of a trading day: marts, the next-action model, the preload plan."""

from typing import TYPE_CHECKING

import dagster as dg

from usage_analytics import parts
from usage_analytics.orchestration.micro_batch_assets import OWNERS, loaded_events
from usage_analytics.orchestration.partitions import TRADING_DAYS, trading_day_of
from usage_analytics.orchestration.resources import Platform, told_plainly

if TYPE_CHECKING:
    from usage_analytics.models.branching.evaluation import Evaluation

FIGURES = ("recall_at_1", "recall_at_3", "log_loss", "calibration_error")
ANALYTICS_OWNERS = ["team:product-analytics"]


def _mart_asset(mart: str, description: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=mart, partitions_def=TRADING_DAYS, group_name="marts", kinds={"duckdb", "table"}, owners=OWNERS,
        deps=[dg.AssetDep(loaded_events, partition_mapping=dg.TimeWindowPartitionMapping())], pool="warehouse",
        description=description,
    )  # fmt: skip
    def refresh(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
        with told_plainly():
            day = trading_day_of(context.partition_key)
            receipt = platform.warehouse().refresh_mart(mart, day)
        return dg.MaterializeResult(
            metadata={
                "dagster/partition_row_count": receipt.rows,
                "dagster/relation_identifier": mart,
                "trading_day_version": receipt.version,
                "duplicates_dropped": receipt.duplicates_dropped,
            }
        )

    return refresh


user_sessions = _mart_asset(
    "user_sessions",
    "One row is one user session: a run of one user's events within a trading day without a gap of 30 minutes.",
)
app_transitions = _mart_asset(
    "app_transitions",
    "How often each mini-app followed the up to three before it in a user session. Sufficient statistics: counts that "
    "add up over trading days, one row per context, next mini-app and fold of users.",
)


@dg.asset(
    partitions_def=TRADING_DAYS, group_name="models", kinds={"python", "parquet"}, owners=ANALYTICS_OWNERS,
    deps=[app_transitions],
)  # fmt: skip
def next_action_model(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """What a user opens next, given what they opened before: transition counts with back-off to shorter contexts.

    Learned from the counts of all trading days up to this one; judged on users it did not see.
    """
    from usage_analytics.models.branching.training import train

    settings = platform.settings()
    with told_plainly():
        day = trading_day_of(context.partition_key)
        trained = train(platform.warehouse(), parts.layout(settings), day)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": trained.transitions,
            "mini_apps": trained.mini_apps,
            "file": dg.MetadataValue.path(str(trained.path)),
            **_held_out(trained.evaluation),
        }
    )


@dg.asset(
    partitions_def=TRADING_DAYS, group_name="serving", kinds={"python", "table"}, owners=ANALYTICS_OWNERS,
    deps=[next_action_model], pool="warehouse",
)  # fmt: skip
def preload_plan(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Per context, the ranked next mini-apps worth preloading: one row is one, with its probability and evidence."""
    from usage_analytics.serving.planning import make_plan

    settings = platform.settings()
    with told_plainly():
        day = trading_day_of(context.partition_key)
        plan = make_plan(parts.layout(settings), day)
        platform.warehouse().replace_plan(day, plan)
    likeliest = plan.drop_nulls("mini_app").sort("probability", descending=True).head(10)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": plan.height,
            "contexts": plan.get_column("context").n_unique(),
            "likeliest": dg.MetadataValue.md(_markdown(likeliest.rows(named=True))),
        }
    )


def _held_out(evaluation: "Evaluation | None") -> dict[str, float]:
    if evaluation is None:
        return {}
    figures = {f"held_out_{name}": getattr(evaluation, name) for name in FIGURES}
    for baseline, scores in evaluation.baselines.items():
        figures |= {f"{baseline} {name}".replace(" ", "_").replace("-", "_"): getattr(scores, name) for name in FIGURES}
    return figures


def _markdown(rows: list[dict[str, object]]) -> str:
    lines = ["| context | next | probability |", "|---|---|---|"]
    lines += [f"| {r['context'] or '(start)'} | {r['mini_app']} | {r['probability']:.3f} |" for r in rows]
    return "\n".join(lines)


TRADING_DAY_ASSETS = [user_sessions, app_transitions, next_action_model, preload_plan]
