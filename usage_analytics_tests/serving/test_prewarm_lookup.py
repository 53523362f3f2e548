"""`usage-analytics prewarm`: what is to be fetched now or at another time of the day, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes import KEY
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.serving.askers import instant_of
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.serving.prewarm_lookup import look_up_prewarm
from usage_analytics.settings import PREFIX, Settings
from usage_analytics_tests.serving.made_up_plans import MadeUp, MadeUpPrewarm

PLAN = MadeUp(
    saved_ms={"charts": 500.0, "news": 400.0},
    cost_ms={"charts": 20.0, "news": 10.0},
    classes=[{}],
    users={pseudonym(KEY, "joe"): 1},
    prices=[1.0] * 6 + [5.0] * 2 + [1.0] * 28,
    prewarms=[MadeUpPrewarm(5, 8, 1.5, [{"charts": 0.25}, {"news": 0.5, "charts": 0.125}])],
)


@pytest.fixture
def settings(memory_path: Path) -> Settings:
    """A home folder with a plan."""
    chosen = Settings(memory_path, pseudonym_key=KEY)
    parts.plan_folder(chosen).publish(PLAN.tables())
    return chosen


def run(settings: Settings, *arguments: str) -> str:
    environment = {PREFIX + "HOME": str(settings.home), PREFIX + "PSEUDONYM_KEY": KEY.decode()}
    done = CliRunner().invoke(cli.app, ["prewarm", *arguments], env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def test_a_user_is_told_what_and_why(settings: Settings) -> None:
    told = run(settings, "joe", "--at", "09:15")
    assert "user joe at 09:15, to be opened at 09:30-10:00 (plan 2026-11-23-" in told
    assert "1 │ news │ 0.500 │ 400.000 │ 15.000 │ 185.000 │ 1,000 │" in told
    assert "2 │ charts │ 0.125 │ 500.000 │ 30.000 │ 32.500 │ 1,000 │" in told
    assert "chance: that a user active now opens it then, and that nothing preloads it at the price of then" in told
    assert "The plan knows no class" not in told
    assert run(settings, pseudonym(KEY, "joe"), "--at", "9:29").count("news") == 1, "the warehouse shows pseudonyms"


def test_whom_the_plan_does_not_know_gets_the_populations_answer(settings: Settings) -> None:
    mary = run(settings, "mary", "--at", "09:15")
    assert (
        "The plan knows no class of this user (users have one from their second day on): the population's answer"
        in mary
    )
    anybody = run(settings, "--at", "09:15")
    assert anybody.startswith("anybody at 09:15, to be opened at 09:30-10:00") and "no class" not in anybody
    assert "charts │ 0.250" in mary and "charts │ 0.250" in anybody


def test_at_other_times_it_is_said_when(settings: Settings) -> None:
    told = run(settings, "joe", "--at", "12:00")
    assert told == (
        "user joe at 12:00: nothing to fetch ahead: it is fetched ahead at 09:15-09:30 only (America/New_York)"
    )


def test_a_time_is_todays_in_the_plans_time_zone_or_of_its_next_or_last_trading_day() -> None:
    plan, now = PreloadPlan(PLAN.tables(), "a"), datetime(2026, 7, 2, 2, 30, 5, tzinfo=UTC)
    assert instant_of(plan, None, now) == now
    assert instant_of(plan, "09:15", now) == datetime(2026, 7, 1, 13, 15, tzinfo=UTC), "in New York it is still July 1"
    assert instant_of(plan, "09:15", now + timedelta(days=1)) == datetime(2026, 11, 23, 14, 15, tzinfo=UTC)
    assert instant_of(plan, "09:15", now + timedelta(days=999)) == datetime(2026, 11, 24, 14, 15, tzinfo=UTC)


@pytest.mark.parametrize("at", ["", "9", "noon", "24:00", "09:15:00", "2026-11-24T09:15", "09:15Z"])
def test_what_is_no_time_is_refused(at: str, settings: Settings) -> None:
    with pytest.raises(UserError, match=f"at is a time of day in America/New_York, such as 09:15, found '{at}'"):
        look_up_prewarm(settings, "joe", at)


def test_an_empty_user_is_refused_and_before_there_is_a_plan_it_is_said_what_to_do(
    settings: Settings, memory_path: Path
) -> None:
    with pytest.raises(UserError, match="USER is empty: name one, or leave it out for the population's answer"):
        look_up_prewarm(settings, "", None)
    with pytest.raises(UserError, match=r"there is no preload plan in .* yet: materialize preload_plan first"):
        look_up_prewarm(Settings(memory_path / "new", pseudonym_key=KEY), None, None)


def test_help_teaches() -> None:
    told = " ".join(CliRunner().invoke(cli.app, ["prewarm", "--help"], env={"COLUMNS": "200"}).stdout.split())
    for words in ("too dear, at the market open say, and why", "HH:MM", "once a slot (a window of 15 minutes)"):
        assert words in told, told
