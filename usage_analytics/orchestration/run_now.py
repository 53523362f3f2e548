"""Runs the graph's jobs in this process, recorded in the Dagster instance like any other run."""

from datetime import UTC, date, datetime

import dagster as dg

from usage_analytics.definitions import defs
from usage_analytics.errors import UserError
from usage_analytics.orchestration.jobs import micro_batch, replay, trading_day_close
from usage_analytics.settings import Settings

# The run's events go to the instance, where the UI shows them; the terminal belongs to the caller.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
INTERRUPTED = ("DagsterExecutionInterruptedError", "Query interrupted")  # what Dagster and DuckDB make of Ctrl-C


def run_micro_batch(settings: Settings, instance: dg.DagsterInstance) -> None:
    """One micro-batch into the window that is open now."""
    window = settings.calendar.window_at(datetime.now(UTC))
    _run(micro_batch.name, window.key, instance)


def enrich_again(window: str, instance: dg.DagsterInstance) -> None:
    """Usage events and warehouse rows of a window, from its raw chunks."""
    _run(replay.name, window, instance)


def close_trading_day(day: date, instance: dg.DagsterInstance) -> None:
    """Marts, model and plan of one trading day."""
    _run(trading_day_close.name, day.isoformat(), instance)


def _run(job: str, partition: str, instance: dg.DagsterInstance) -> None:
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition, raise_on_error=False, run_config=QUIET
    )
    if not result.success:
        failed = [event for event in result.all_events if event.is_step_failure]
        if any(sign in str(event.event_specific_data) for event in failed for sign in INTERRUPTED):
            raise KeyboardInterrupt
        why = _sentence(failed[0]) if failed else "see the run in the Dagster UI"
        raise UserError(f"{job} of {partition} failed: {why}")


def _sentence(failed: dg.DagsterEvent) -> str:
    """Why a step failed, in its own words; Dagster's message says only that it did."""
    data = failed.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else str(failed.message)
