"""Which failures of a step are tried again, and what a person reads when that was in vain."""

from __future__ import annotations

import dagster as dg
import pytest

from usage_analytics.errors import TransientError, UserError
from usage_analytics.orchestration import resources


def run_that_meets(errors: list[Exception], monkeypatch: pytest.MonkeyPatch) -> tuple[int, dg.ExecuteInProcessResult]:
    """How often a step is begun that meets one error after the other, and what comes of its run."""
    monkeypatch.setattr(resources, "AGAIN_AFTER_S", 0)
    begun = []

    @dg.asset
    def made() -> None:
        begun.append(1)
        with resources.told_plainly():
            if len(begun) <= len(errors):
                raise errors[len(begun) - 1]

    job = dg.Definitions(assets=[made], jobs=[dg.define_asset_job("job", "*")]).resolve_job_def("job")
    result = job.execute_in_process(raise_on_error=False)
    return len(begun), result


def sentence(result: dg.ExecuteInProcessResult) -> str | None:
    [failed] = [event for event in result.all_events if event.is_step_failure]
    told = failed.step_failure_data.user_failure_data
    return None if told is None else told.description


def test_what_passes_by_itself_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, result = run_that_meets([TransientError("the connection was lost")] * 3, monkeypatch)
    assert begun == 4 and result.success


def test_trying_again_has_an_end_and_the_sentence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, result = run_that_meets([TransientError("the connection was lost")] * 9, monkeypatch)
    assert begun == 4 and sentence(result) == "the connection was lost"


@pytest.mark.parametrize("error", [UserError("a wrong setting"), OSError(28, "No space left", "/f"), KeyError("bug")])
def test_what_trying_again_cannot_mend_is_not_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, result = run_that_meets([error, error], monkeypatch)
    assert begun == 1 and not result.success
