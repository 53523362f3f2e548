"""What would be preloaded for a user: after the newest user session alone, each event of it once."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from closing import refresh
from fakes import KEY, TOPIC, enriched_chunk
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.errors import UserError
from usage_analytics.serving.lookup import look_up
from usage_analytics.settings import PREFIX, Settings
from usage_analytics_tests.serving.made_up_plans import IBM, MadeUp

WINDOW, DAY, DAY_BEFORE = "2026-11-23T1000", date(2026, 11, 23), date(2026, 11, 20)
MINUTE_US = 60 * 10**6
ODD = "bonds > all >"
PLAN = MadeUp(
    entries={(): {"news": 0.3}, ("quotes",): {"charts": 0.5}, ("charts",): {"orders": 0.4}},
    mini_apps=(ODD, "charts", "news", "orders", "quotes"),
    saved_ms=dict.fromkeys((ODD, "charts", "news", "orders", "quotes"), 1000.0),
    revisit={(4, "charts"): 0.5},
    classes=[{"": 2.0}],
    users={pseudonym(KEY, "joe"): 1},
    entities={IBM: {"charts": (3.0, 0.0), "news": (1.0, 0.125)}},
)


def click(minute: float, mini_app: str, user: str = "mary", day: date = DAY, event_id: str = "") -> dict[str, Any]:
    at = 1_795_446_000_000_000 - (DAY - day).days * 24 * 60 * MINUTE_US + int(minute * MINUTE_US)
    return {
        "user_id": pseudonym(KEY, user), "trading_day": day, "mini_app": mini_app, "event_time_us": at,
        "event_id": event_id or f"{user}-{at}",
    }  # fmt: skip


@pytest.fixture
def settings(memory_path: Path) -> Settings:
    """A home folder with a plan."""
    chosen = Settings(memory_path, pseudonym_key=KEY)
    parts.plan_folder(chosen).publish(PLAN.tables())
    return chosen


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return {PREFIX + "HOME": str(settings.home), PREFIX + "PSEUDONYM_KEY": KEY.decode()}


def load(settings: Settings, *clicks: dict[str, Any]) -> None:
    chunk = enriched_chunk(settings.home, WINDOW, 0, 0, list(clicks))
    parts.warehouse(settings).load_window(TOPIC, WINDOW, [chunk])
    refresh(parts.warehouse(settings), DAY, "app_transitions")


def test_the_last_three_of_the_newest_session_are_the_context(settings: Settings) -> None:
    load(settings, click(9, "quotes"), *(click(n, app) for n, app in enumerate(("orders", "news", "charts"))))
    answer = look_up(settings, ["mary"])
    assert (answer.seen_user, answer.trading_day, answer.context) == (True, DAY, ("news", "charts", "quotes"))
    assert [(item.mini_app, item.context) for item in answer.answer.items] == [("charts", ("quotes",))]


def test_a_user_is_found_by_the_pseudonym_that_the_warehouse_shows(settings: Settings) -> None:
    load(settings, click(9, "quotes"))
    [(shown,)] = parts.warehouse(settings).read("SELECT DISTINCT user_id FROM usage_events").rows()
    found = look_up(settings, ["mary"])
    assert replace(look_up(settings, [shown]), at=found.at) == found


def test_what_was_opened_before_these_counts_as_revisits(settings: Settings) -> None:
    load(settings, *(click(n, app) for n, app in enumerate(("charts", "news", "orders", "quotes"))))
    [item] = look_up(settings, ["mary"]).answer.items
    assert (item.mini_app, item.revisit_factor) == ("charts", 0.5)


def test_the_factors_of_a_users_class_take_part(settings: Settings) -> None:
    load(settings, click(0, "quotes", user="joe"), click(0, "quotes"))
    joe, mary = look_up(settings, ["joe"]).answer, look_up(settings, ["mary"]).answer
    assert (joe.known_user, joe.items[0].user_factor) == (True, 2.0)
    assert (mary.known_user, mary.items[0].user_factor) == (False, 1.0)


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


def test_mini_apps_are_a_context_that_no_warehouse_is_asked_for(settings: Settings) -> None:
    for asked in (["charts > quotes"], ["charts>quotes"], ["charts", "quotes"]):
        found = look_up(settings, asked)
        assert (found.seen_user, found.context, found.answer.known_user) == (False, ("charts", "quotes"), False)
    assert look_up(settings, ["quotes"]).context == ("quotes",)
    assert not settings.warehouse.exists()


def test_the_start_of_a_user_session_can_be_asked_for(settings: Settings, environment: dict[str, str]) -> None:
    begun = replace(PLAN, entries={**PLAN.entries, (None,): {"orders": 0.75}, (None, "quotes"): {"news": 0.5}})
    parts.plan_folder(settings).publish(begun.tables())
    for asked, context, first in (
        (["(start)"], (None,), "orders"),
        (["(start) > quotes"], (None, "quotes"), "news"),
        (["(start)", "quotes"], (None, "quotes"), "news"),
        (["(start)", "charts", "quotes"], ("quotes",), "charts"),
    ):
        found = look_up(settings, asked).answer
        assert (found.context, found.items[0].mini_app) == (context, first)
    told = CliRunner().invoke(cli.app, ["next", "(start)"], env=environment, catch_exceptions=False).stdout
    assert "(start) (plan 2026-11-23-" in told and "after (start), seen 1 times" in " ".join(told.split())
    with pytest.raises(UserError, match=r"'\(start\)' is no mini-app of the plan"):
        look_up(settings, ["quotes", "(start)"])


def test_a_mini_app_of_the_name_of_the_start_means_itself(settings: Settings) -> None:
    names = ("(start)", "charts", "news")
    odd = MadeUp(entries={(): {"news": 0.5}, ("(start)",): {"charts": 0.5}, (None,): {"news": 0.5}}, mini_apps=names,
                 saved_ms=dict.fromkeys(names, 1000.0))  # fmt: skip
    parts.plan_folder(settings).publish(odd.tables())
    found = look_up(settings, ["(start)"])
    assert (found.context, [item.mini_app for item in found.answer.items]) == (("(start)",), ["charts"])


def test_other_text_is_refused(settings: Settings) -> None:
    load(settings, click(0, "quotes"), click(1, "charts"))
    remedy = (
        r"of the plan of 2026-11-23 \(ask for a user alone, or for mini-apps such as 'quotes > charts'; '\(start\)' may"
    )
    with pytest.raises(UserError, match=f"'jim' is neither a user with events nor a mini-app {remedy}"):
        look_up(settings, ["jim"])
    for asked, part in ((">", ""), ("quotes >", ""), ("charts > jim", "jim"), (f"{'0a' * 16} ", "0a" * 16)):
        told = f"'{asked}' is neither a user with events nor a context, for '{part}' is no mini-app {remedy}"
        with pytest.raises(UserError, match=told):
            look_up(settings, [asked])
    with pytest.raises(UserError, match=f"'mary' is no mini-app {remedy}"):
        look_up(settings, ["charts", "mary"])


def test_a_name_that_is_nearly_one_is_told(settings: Settings) -> None:
    with pytest.raises(UserError, match=r"'Quoets' is neither a user .* of 2026-11-23; is 'quotes' meant\? \(ask"):
        look_up(settings, ["Quoets"])
    with pytest.raises(UserError, match=r"'char' is no mini-app of the plan of 2026-11-23; is 'charts' meant\?"):
        look_up(settings, ["quotes", "char"])
    with pytest.raises(UserError, match="at is a time of day in America/New_York, such as 09:15, found 'noon'"):
        look_up(settings, ["quotes"], at="noon")


def test_before_there_is_a_plan_it_is_said_what_to_do(memory_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no preload plan in .* yet: materialize preload_plan first"):
        look_up(Settings(memory_path / "new", pseudonym_key=KEY), ["quotes"])


def test_a_mini_app_whose_name_reads_like_a_context_can_be_asked_for(
    settings: Settings, environment: dict[str, str]
) -> None:
    found = look_up(settings, [ODD])
    assert (found.context, [item.mini_app for item in found.answer.items]) == ((ODD,), ["news"])
    assert look_up(settings, [ODD, "quotes"]).context == (ODD, "quotes")
    done = CliRunner().invoke(cli.app, ["next", ODD, "quotes"], env=environment, catch_exceptions=False)
    assert "bonds > all > > quotes (plan 2026-11-23-" in done.stdout


def test_the_command_says_why(settings: Settings, environment: dict[str, str]) -> None:
    load(settings, click(0, "bonds"), click(1, "quotes"))
    done = CliRunner().invoke(cli.app, ["next", "mary"], env=environment, catch_exceptions=False)
    told = " ".join(done.stdout.split())
    assert "user mary, last seen in bonds > quotes (plan 2026-11-23-" in told
    for words in (
        "charts", "0.500", "1000.000", "499.000", "The plan does not know bonds",
        "The plan knows no class of this user (users have one from their second day on): likes are the population's",
        "The whole context was seen too seldom: the answer is that after quotes",
    ):  # fmt: skip
        assert words in told, told
    assert "after quotes, seen 1 times" in told
    assert "Price of preloads at " in told and "(America/New_York): " in told
    early = CliRunner().invoke(cli.app, ["next", "quotes", "--at", "09:05"], env=environment, catch_exceptions=False)
    assert "Price of preloads at 09:05 (America/New_York): 1.00" in " ".join(early.stdout.split())
    abstaining = CliRunner().invoke(cli.app, ["next", "news"], env=environment, catch_exceptions=False)
    assert abstaining.stdout.startswith("news: nothing is worth what it costs to preload\n")


def test_names_are_shown_as_they_are_written(settings: Settings, environment: dict[str, str]) -> None:
    load(settings, click(0, "red\x1b[31m"), click(1, ":smile:"), click(2, "quotes"))
    told = CliRunner().invoke(cli.app, ["next", "mary"], env=environment, catch_exceptions=False).stdout
    assert r"user mary, last seen in red\x1b[31m > :smile: > quotes (plan 2026-11-23-" in told
    assert r"The plan does not know red\x1b[31m, :smile:" in told and "\x1b" not in told


def test_the_command_says_what_makes_a_difference(settings: Settings, environment: dict[str, str]) -> None:
    load(settings, *(click(n, app, user="joe") for n, app in enumerate(("charts", "news", "orders", "quotes"))))
    command = ["next", "joe", "--entity", IBM]
    told = " ".join(CliRunner().invoke(cli.app, command, env=environment, catch_exceptions=False).stdout.split())
    for words in (
        "after quotes, seen 1 times", "x 0.5 as it was opened before", "x 2 for users like this one",
        "x 3 with IBM in hand", "IBM leads to it: 0.125",
    ):  # fmt: skip
        assert told.count(words) == 1, told
    other = CliRunner().invoke(cli.app, ["next", "quotes", "--entity", "DAX"], env=environment, catch_exceptions=False)
    assert "The plan does not know DAX, so having it in hand makes no difference" in other.stdout
    assert look_up(settings, ["quotes"], "DAX").answer.items == look_up(settings, ["quotes"]).answer.items


def test_no_user_is_looked_up_under_another_key_than_the_lakes(settings: Settings) -> None:
    load(settings, click(0, "quotes"))
    parts.enricher(settings)
    another = Settings(settings.home, pseudonym_key=b"another key, long enough")
    with pytest.raises(UserError, match="USAGE_ANALYTICS_PSEUDONYM_KEY is another key than the one that this lake's"):
        look_up(another, ["mary"])
