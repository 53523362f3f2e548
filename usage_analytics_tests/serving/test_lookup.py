"""What would be preloaded for a user: after the newest user session alone, each event of it once."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from closing import refresh, replace_plan
from fakes import KEY, TOPIC, enriched_chunk
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.serving.lookup import look_up
from usage_analytics.serving.preload_plan import PLAN_SCHEMA
from usage_analytics.settings import PREFIX, Settings

WINDOW, DAY, DAY_BEFORE = "2026-11-23T1000", date(2026, 11, 23), date(2026, 11, 20)
MINUTE_US = 60 * 10**6
PLAN = [("", 0, 1, "news", 0.3, 90), ("quotes", 1, 1, "charts", 0.5, 20), ("charts", 1, 1, "orders", 0.4, 30)]


def click(minute: float, mini_app: str, user: str = "mary", day: date = DAY, event_id: str = "") -> dict[str, Any]:
    at = 1_795_446_000_000_000 - (DAY - day).days * 24 * 60 * MINUTE_US + int(minute * MINUTE_US)
    return {
        "user_id": pseudonym(KEY, user), "trading_day": day, "mini_app": mini_app, "event_time_us": at,
        "event_id": event_id or f"{user}-{at}",
    }  # fmt: skip


@pytest.fixture
def settings(memory_path: Path) -> Settings:
    """A warehouse with a plan and the mini-apps it knows."""
    chosen = Settings(memory_path, pseudonym_key=KEY)
    replace_plan(parts.warehouse(chosen), DAY, pl.DataFrame(PLAN, PLAN_SCHEMA, orient="row"))
    return chosen


def load(settings: Settings, *clicks: dict[str, Any]) -> None:
    chunk = enriched_chunk(settings.home, WINDOW, 0, 0, list(clicks))
    parts.warehouse(settings).load_window(TOPIC, WINDOW, [chunk])
    refresh(parts.warehouse(settings), DAY, "app_transitions")


def test_the_last_three_of_the_newest_session_are_the_context(settings: Settings) -> None:
    load(settings, click(9, "quotes"), *(click(n, app) for n, app in enumerate(("orders", "news", "charts"))))
    answer = look_up(settings, ["mary"])
    assert (answer.known_user, answer.trading_day, answer.context) == (True, DAY, ("news", "charts", "quotes"))
    assert [(item.mini_app, item.context) for item in answer.items] == [("charts", ("quotes",))]


def test_a_redelivered_event_counts_once(settings: Settings) -> None:
    again = click(1, "charts", event_id="e")
    load(settings, click(0, "quotes"), again, again, again)
    assert look_up(settings, ["mary"]).context == ("quotes", "charts")


@pytest.mark.parametrize(
    ("clicks", "context"),
    [
        ([click(0, "charts"), click(30, "quotes")], ("quotes",)),
        ([click(0, "charts"), click(29.9, "quotes")], ("charts", "quotes")),
        ([click(0, "news", day=DAY_BEFORE), click(1, "charts", day=DAY_BEFORE), click(2, "quotes")], ("quotes",)),
    ],
)
def test_what_was_before_a_pause_or_on_another_day_does_not_count(
    clicks: list[dict[str, Any]], context: tuple[str, ...], settings: Settings
) -> None:
    load(settings, *clicks)
    assert look_up(settings, ["mary"]).context == context


def test_other_users_do_not_count(settings: Settings) -> None:
    load(settings, click(0, "charts"), click(1, "news", user="joe"), click(31, "orders", user="joe"))
    assert look_up(settings, ["mary"]).context == ("charts",)
    assert look_up(settings, ["joe"]).context == ("orders",)


def test_mini_apps_are_a_context_and_other_text_is_refused(settings: Settings) -> None:
    load(settings, click(0, "quotes"), click(1, "charts"))
    for asked in (["charts > quotes"], ["charts>quotes"], ["charts", "quotes"]):
        answer = look_up(settings, asked)
        assert (answer.known_user, answer.context) == (False, ("charts", "quotes"))
    remedy = r"\(ask for a user, or for mini-apps such as 'quotes > charts'\)"
    with pytest.raises(UserError, match=f"'jim' is neither a user with events nor a mini-app {remedy}"):
        look_up(settings, ["jim"])
    with pytest.raises(UserError, match=f"'mary' is not a mini-app {remedy}"):
        look_up(settings, ["charts", "mary"])


def test_a_mini_app_whose_name_reads_like_a_context_can_be_asked_for(settings: Settings) -> None:
    odd = "bonds > all >"
    load(settings, click(0, odd), click(1, "quotes"))
    answer = look_up(settings, [odd])
    assert (answer.context, [item.mini_app for item in answer.items]) == ((odd,), ["news"])
    assert look_up(settings, [odd, "quotes"]).context == (odd, "quotes")
    home = {PREFIX + "HOME": str(settings.home)}
    done = CliRunner().invoke(cli.app, ["next", odd, "quotes"], env=home, catch_exceptions=False)
    assert "bonds > all > > quotes (plan of 2026-11-23)" in done.stdout


def test_no_user_is_looked_up_under_another_key_than_the_lakes(settings: Settings) -> None:
    load(settings, click(0, "quotes"))
    parts.enricher(settings)
    another = Settings(settings.home, pseudonym_key=b"another key, long enough")
    with pytest.raises(UserError, match="USAGE_ANALYTICS_PSEUDONYM_KEY is another key than the one that this lake's"):
        look_up(another, ["mary"])
