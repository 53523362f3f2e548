"""The jobs: a micro-batch for one window, a window judged again, the close of a trading day, the watch on Kafka."""

from typing import Any

import dagster as dg

from usage_analytics.orchestration.checks import unread_is_kept
from usage_analytics.orchestration.micro_batch_assets import MICRO_BATCH_ASSETS, loaded_events, usage_events
from usage_analytics.orchestration.trading_day_assets import CLOSING_ASSETS


def _job(name: str, selection: dg.AssetSelection, max_runtime_s: int, description: str) -> Any:
    # One process per run: starting one per step, each with its own imports, would cost more than the work. The tag lets
    # run monitoring end a run whose process died; else it would count as active for ever.
    return dg.define_asset_job(
        name,
        selection=selection,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(max_runtime_s)},
        description=description,
    )


micro_batch = _job(
    "micro_batch", dg.AssetSelection.assets(*MICRO_BATCH_ASSETS), 600,
    "Lands, enriches and loads what waits on Kafka, into one window.",
)  # fmt: skip
replay = _job(
    "replay", dg.AssetSelection.assets(usage_events, loaded_events), 3_600,
    "Enriches and loads a window again from its raw chunks, as after a corrected mapping; needs no Kafka.",
)  # fmt: skip
trading_day_close = _job(
    "trading_day_close", dg.AssetSelection.assets(*CLOSING_ASSETS), 3_600,
    "Refreshes the marts, the model and the preload plan of one trading day; of an earlier one than the newest, marts.",
)  # fmt: skip
watch_retention = _job(
    "watch_retention", dg.AssetSelection.checks(unread_is_kept), 300,
    "Looks how long Kafka still keeps what has not been landed.",
)  # fmt: skip
JOBS = [watch_retention, micro_batch, replay, trading_day_close]
