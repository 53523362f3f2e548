"""START HERE: the table of contents of the system, as Dagster sees it.

usage_messages -> raw_messages -> usage_events -> loaded_events      one window per run     micro_batch_assets
                                                       |
    user_sessions, app_transitions -> next_action_model -> preload_plan   one trading day   trading_day_assets
                                                   |           ^
                                             next_action_challengers      only when asked for
"""

import dagster as dg

from usage_analytics.orchestration.checks import CHECKS
from usage_analytics.orchestration.jobs import JOBS
from usage_analytics.orchestration.micro_batch_assets import MICRO_BATCH_ASSETS, usage_messages
from usage_analytics.orchestration.resources import Platform
from usage_analytics.orchestration.schedules import SCHEDULES
from usage_analytics.orchestration.sensors import SENSORS
from usage_analytics.orchestration.trading_day_assets import TRADING_DAY_ASSETS

defs = dg.Definitions(
    assets=[usage_messages, *MICRO_BATCH_ASSETS, *TRADING_DAY_ASSETS],
    asset_checks=CHECKS,
    jobs=JOBS,
    sensors=SENSORS,
    schedules=SCHEDULES,
    resources={"platform": Platform()},
    executor=dg.in_process_executor,
)
