"""Runs of the micro-batch by share: what is asked for, and what is under way."""

import dagster as dg

from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import EVERYTHING, Share, parse_share

SHARE_TAG = "usage_analytics/share"  # dagster.yaml lets one run at a time go ahead with each value of it
ACTIVE = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
]  # fmt: skip


def request(window: str, share: Share, run_key: str) -> dg.RunRequest:
    """A micro-batch of one share into a window."""
    config = {"resources": {"platform": {"config": {"share": str(share)}}}}
    return dg.RunRequest(run_key, partition_key=window, run_config=config, tags={SHARE_TAG: str(share)})


def active_shares(instance: dg.DagsterInstance, job: str) -> list[Share]:
    """The shares that runs of a job have under way, or in the queue; a run started by hand may have all of them."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=ACTIVE))
    return [_tagged(run.tags.get(SHARE_TAG, str(EVERYTHING))) for run in runs]


def _tagged(text: str) -> Share:
    try:
        return parse_share(text)
    except UserError:  # written by hand: as if it were not there
        return EVERYTHING
