"""The assets of a trading day: marts, the next-action model and its challengers, the preload plan."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from usage_analytics import parts
from usage_analytics.orchestration.micro_batch_assets import OWNERS, STORE, loaded_events
from usage_analytics.orchestration.partitions import TRADING_DAYS, trading_day_of
from usage_analytics.orchestration.resources import Platform, told_plainly
from usage_analytics.warehouse.plans import replace_plan
from usage_analytics.warehouse.refreshing import refresh_day

ANALYTICS_OWNERS = ["team:product-analytics"]
DAYS_OF_PLANS = 30  # so far back a rollback reaches


DESCRIPTIONS = {
    "user_sessions": "One row is one user session: a run of one user's events within a trading day without a gap of 30 "
    "minutes.",
    "app_transitions": "How often each mini-app followed the up to three before it in a user session, with dwell and "
    "latency: one row per context, next mini-app and fold of users.",
    "user_profiles": "How much of each mini-app each user used. The views `app_adoption`, `retention` and `stickiness` "
    "read it over many days.",
    "usage_series": "How much of each mini-app was used in each minute.",
    "co_use": "How many users used both of two mini-apps on the day.",
    "paths": "How user sessions begin: the mini-apps of their first five visits.",
    "friction": "Where users wait, meet errors, give up and press again, and how much is fetched for them: one row per "
    "mini-app and action.",
    "latency_histogram": "Latencies in buckets that add up; the view `latency_percentiles` reads it.",
    "funnels": "How many users got to each step of each funnel (USAGE_ANALYTICS_FUNNELS).",
}


# Only marts take turns in the queue, for they have the warehouse for long. A pool is held for a whole run: that of a
# plan, which writes for a moment at its end, would keep loads waiting while challengers are trained beside it.
@dg.multi_asset(
    name="marts", partitions_def=TRADING_DAYS, can_subset=True, pool="warehouse",
    specs=[
        dg.AssetSpec(
            name, group_name="marts", kinds={STORE, "table"}, owners=OWNERS, skippable=True,
            deps=[dg.AssetDep(loaded_events, partition_mapping=dg.TimeWindowPartitionMapping())],
            description=f"{description} Counts and sums add up over trading days.",
        )
        for name, description in DESCRIPTIONS.items()
    ],
)  # fmt: skip
def marts(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.MaterializeResult]:
    """The chosen marts of a trading day, from its usage events as they are now; what they share is made once."""
    settings = platform.settings()
    wanted = [key.to_user_string() for key in context.selected_asset_keys]
    with told_plainly():
        day, warehouse = trading_day_of(context.partition_key), platform.warehouse()
        warehouse.close_day(day)
        with warehouse.writing() as session:
            receipts = refresh_day(session, wanted, day, settings.mart_rules)
    for mart, receipt in receipts.items():
        yield dg.MaterializeResult(
            asset_key=mart,
            metadata={
                "dagster/partition_row_count": receipt.rows,
                "dagster/relation_identifier": mart,
                "trading_day_version": receipt.version,
                "duplicates_dropped": receipt.duplicates_dropped,
                "latencies_left_out": receipt.latencies_left_out,
                "payloads_left_out": receipt.payloads_left_out,
            },
        )


@dg.asset(
    partitions_def=TRADING_DAYS, group_name="models", kinds={"python", "parquet"}, owners=ANALYTICS_OWNERS,
    deps=["app_transitions", "user_profiles"],
)  # fmt: skip
def next_action_model(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """What a user opens next: counts of what followed the last mini-apps, corrected for the user and what is in hand.

    Learned from all trading days up to this one; judged on users whom it did not count, and by how the model of the
    trading day before predicts this one.
    """
    from usage_analytics.models.branching.training import train
    from usage_analytics.reporting.model_evidence import evidence_of

    settings = platform.settings()
    with told_plainly():
        day = trading_day_of(context.partition_key)
        trained = train(platform.warehouse(), parts.layout(settings), day)
    return dg.MaterializeResult(metadata={"folder": dg.MetadataValue.path(str(trained.folder)), **evidence_of(trained)})


@dg.asset(
    partitions_def=TRADING_DAYS, group_name="models", kinds={"tensorflow", "python"}, owners=ANALYTICS_OWNERS,
    deps=[next_action_model],
)  # fmt: skip
def next_action_challengers(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Whether a recurrent network or session-kNN takes the place of the counts in this day's plan and later ones.

    Only one that beats them on this day, on log-loss and on net benefit, each by more than its standard error; it has
    learned from the days before. No part of the close of a trading day, for training takes minutes: people or CI
    materialize it, then preload_plan. The network is trained only where TensorFlow is installed (the [ai] extra).
    """
    from usage_analytics.reporting.contest_evidence import contest_told, whole_sessions_told
    from usage_analytics.serving.judging.model_contest import hold_contest

    with told_plainly():
        day, layout = trading_day_of(context.partition_key), parts.layout(platform.settings())
        choice = hold_contest(platform.warehouse(), layout, day, context.log.info)
    if choice is None:
        why = "No earlier trading day has a model and user sessions, or this one has none to judge by."
        return dg.MaterializeResult(metadata={"chosen": "no contest", "why": why})
    return dg.MaterializeResult(
        metadata={
            "chosen": choice.name,
            "as_served": dg.MetadataValue.md(contest_told(choice.evidence)),
            "whole_sessions": dg.MetadataValue.md(whole_sessions_told(choice.evidence)),
            "evidence": dg.MetadataValue.json(choice.evidence),
        }
    )


@dg.asset(
    partitions_def=TRADING_DAYS, group_name="serving", kinds={"python", "table"}, owners=ANALYTICS_OWNERS,
    deps=[next_action_model, next_action_challengers, "friction", "latency_histogram", "usage_series"],
)  # fmt: skip
def preload_plan(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    """Per context, what is worth preloading: one row is one mini-app, with what speaks for it and against it.

    The same as a file that answers look-ups, unless there is one of a later trading day. Beside it, what such a plan
    would have been worth on this day had it been made the trading day before.
    """
    from usage_analytics.reporting.plan_evidence import comparison_on, likeliest, prices_of
    from usage_analytics.serving.planning import make_plan

    settings = platform.settings()
    with told_plainly():
        day, warehouse, layout = trading_day_of(context.partition_key), platform.warehouse(), parts.layout(settings)
        plan = make_plan(warehouse, layout, day, settings.calendar, datetime.now(UTC))
        plans = parts.plan_folder(settings)
        published = plans.publish(plan.tables)
        plans.prune(DAYS_OF_PLANS)
        compared = comparison_on(warehouse, layout, plans, day, settings.calendar)
        with warehouse.writing() as session:  # the last step: what is written there says that the day is done
            replace_plan(session, day, plan.rows, plan.origin.counts_version, plan.origin.counts_rule)
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": plan.rows.height,
            "contexts": plan.rows.get_column("context").n_unique(),
            "plan": published.name,
            "answers_now": published.current,
            "mini_apps": len(plan.economics.mini_apps),
            "mini_apps_with_measured_waiting": len(plan.economics.mini_apps) - len(plan.economics.untimed),
            "mini_apps_measured_by_all_actions": len(plan.economics.unnamed),
            "probabilities_of": plan.tables.facts.probabilities_of,
            "likeliest": dg.MetadataValue.md(likeliest(plan.rows)),
            "prices": dg.MetadataValue.md(prices_of(plan)),
            "on_this_day": dg.MetadataValue.md(compared),
        }
    )


TRADING_DAY_ASSETS = [marts, next_action_model, next_action_challengers, preload_plan]
CLOSING_ASSETS = [marts, next_action_model, preload_plan]
