"""The jobs: a micro-batch for one window, enriching a window again, the close of one trading day."""

import dagster as dg

from usage_analytics.orchestration.checks import unread_is_kept
from usage_analytics.orchestration.micro_batch_assets import MICRO_BATCH_ASSETS, loaded_events, usage_events
from usage_analytics.orchestration.trading_day_assets import TRADING_DAY_ASSETS

# One process per run: starting one per step would cost more than the work (measured: 27 s against 5 s for four steps).
# The tag lets run monitoring end a run whose process died; without it the run would count as active for ever.
micro_batch = dg.define_asset_job(
    "micro_batch",
    selection=dg.AssetSelection.assets(*MICRO_BATCH_ASSETS),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "600"},
    description="Lands, enriches and loads what waits on Kafka, into one window.",
)
replay = dg.define_asset_job(
    "replay",
    selection=dg.AssetSelection.assets(usage_events, loaded_events),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "3600"},
    description="Enriches and loads a window again from its raw chunks, as after a corrected mapping; needs no Kafka.",
)
trading_day_close = dg.define_asset_job(
    "trading_day_close",
    selection=dg.AssetSelection.assets(*TRADING_DAY_ASSETS),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "3600"},
    description="Refreshes the marts, the model and the preload plan of one trading day.",
)
watch_retention = dg.define_asset_job(
    "watch_retention",
    selection=dg.AssetSelection.checks(unread_is_kept),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": "300"},
    description="Looks how long Kafka still keeps what has not been landed.",
)
JOBS = [watch_retention, micro_batch, replay, trading_day_close]
