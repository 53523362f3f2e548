"""The oracle against docs/marts.md, sentence by sentence: funnels. Its two searches agree."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics_tests.warehouse.event_examples import DAY, LI, NEXT_DAY, at, made, us
from usage_analytics_tests.warehouse.event_strategies import FORTY_STEPS, events_and_funnels, events_of_forty_steps
from usage_analytics_tests.warehouse.funnel_oracle import (
    Funnel,
    Search,
    Step,
    expected_funnels,
    took_by_trying_all,
    took_by_walking,
)
from usage_analytics_tests.warehouse.session_oracle import Event

A, B, C = Step("a"), Step("b"), Step("c")
SECOND = 1_000_000


@pytest.fixture(params=[took_by_walking, took_by_trying_all])
def search(request: pytest.FixtureRequest) -> Search:
    """Either search: all examples hold for both."""
    found: Search = request.param
    return found


def took(search: Search, events: Sequence[Event], within_s: float, *steps: Step) -> list[int | None]:
    """What one user took to each step of a funnel; None of those not got to."""
    rows = sorted(expected_funnels(made(*events), [Funnel("f", within_s, steps)], search))
    assert [row[:3] for row in rows] == [(DAY, "f", number) for number in range(1, len(steps) + 1)]
    return [took_us if users else None for *_, users, took_us in rows]


def spell(text: str, seconds_between: float = 1) -> list[Event]:
    """One event after the other, in the mini-apps that the letters name."""
    return [at(number * seconds_between, letter) for number, letter in enumerate(text)]


def test_a_step_asks_for_what_it_names(search: Search) -> None:
    event = at(0, "a", action="x", screen="s")
    for step in (Step("a"), Step(action="x"), Step(screen="s"), Step("a", "x", "s"), Step("a", screen="s")):
        assert took(search, [event], 9, step) == [0]
    for step in (Step("b"), Step(action="y"), Step("a", "x", "t"), Step("b", "x", "s")):
        assert took(search, [event], 9, step) == [None]
    assert took(search, [at(0, "a")], 9, Step("a", action="x")) == [None]  # a missing action is not one that is named


def test_steps_are_taken_in_order_whatever_is_between(search: Search) -> None:
    assert took(search, spell("axbxc"), 9, A, B, C) == [0, 2 * SECOND, 4 * SECOND]
    assert took(search, spell("acb"), 9, A, B, C) == [0, 2 * SECOND, None]
    assert took(search, spell("cb"), 9, A, B, C) == [None, None, None]


def test_each_step_takes_an_event_of_its_own(search: Search) -> None:
    assert took(search, spell("a"), 9, A, A) == [0, None]
    assert took(search, spell("aa"), 9, A, A, A) == [0, SECOND, None]
    assert took(search, [at(0, "a"), at(0, "a")], 9, A, A) == [0, 0]


def test_first_and_last_are_at_most_so_many_seconds_apart(search: Search) -> None:
    assert took(search, [at(0, "a"), at(5, "b")], 5, A, B) == [0, 5 * SECOND]
    assert took(search, [at(0, "a"), at(5, "b", event_time_us=us(5) + 1)], 5, A, B) == [0, None]
    assert took(search, [at(0, "a"), at(4, "b"), at(8, "c")], 5, A, B, C) == [0, 4 * SECOND, None]
    assert took(search, [at(0, "a"), at(1.001, "b")], 1.001, A, B) == [0, 1_001_000]


def test_a_later_first_event_may_lead_there_in_time(search: Search) -> None:
    assert took(search, [at(0, "a"), at(10, "a"), at(12, "b")], 5, A, B) == [0, 2 * SECOND]


def test_it_counts_from_the_latest_first_event_to_the_earliest_at_which_the_user_got_there(search: Search) -> None:
    assert took(search, spell("aabb"), 9, A, B) == [0, SECOND]
    assert took(search, spell("abacbc"), 9, A, B, C) == [0, SECOND, 3 * SECOND]
    # Quicker ones that come later do not count.
    assert took(search, [at(0, "a"), at(4, "b"), at(8, "a"), at(9, "b")], 9, A, B) == [0, 4 * SECOND]


def test_events_at_the_same_instant_have_the_order_of_kafka(search: Search) -> None:
    assert took(search, [at(0, "a"), at(0, "b")], 9, A, B) == [0, 0]
    assert took(search, [at(0, "b"), at(0, "a")], 9, A, B) == [0, None]
    assert took(search, [at(0, "b"), at(0, "a", kafka_partition=1)], 9, A, B) == [0, None]


def test_user_sessions_do_not_matter_but_trading_days_do(search: Search) -> None:
    assert took(search, [at(0, "a"), at(4000, "b")], 5000, A, B) == [0, 4000 * SECOND]
    events = made(at(86_399, "a"), at(0, "b", NEXT_DAY))
    assert expected_funnels(events, [Funnel("f", 60, (A, B))], search) == {
        (DAY, "f", 1, 1, 0), (DAY, "f", 2, 0, 0), (NEXT_DAY, "f", 1, 0, 0), (NEXT_DAY, "f", 2, 0, 0),
    }  # fmt: skip


def test_users_are_counted_and_what_they_took_is_summed(search: Search) -> None:
    events = made(*spell("axb"), *(at(n, app, user_id=LI) for n, app in enumerate("ab")), at(0, "a", user_id="f" * 64))
    funnels = [Funnel("f", 60, (A, B)), Funnel("g", 60, (C,))]
    assert expected_funnels(events, funnels, search) == {
        (DAY, "f", 1, 3, 0), (DAY, "f", 2, 2, 3 * SECOND), (DAY, "g", 1, 0, 0),
    }  # fmt: skip


def test_an_event_sent_twice_takes_one_step(search: Search) -> None:
    assert took(search, [at(0, "a", event_id="x"), at(0, "a", event_id="x", kafka_partition=1)], 9, A, A) == [0, None]


def test_there_may_be_forty_steps() -> None:
    rows = expected_funnels(events_of_forty_steps(), [FORTY_STEPS])
    assert {row[2:] for row in rows} == {(n + 1, 1, n * 60 * SECOND) for n in range(40)}


@given(events_and_funnels(most_a_day=8))
@settings(max_examples=50)
def test_both_searches_agree_on_what_the_marts_are_tried_with(drawn: tuple[list[Event], list[Funnel]]) -> None:
    assert expected_funnels(*drawn, took_by_walking) == expected_funnels(*drawn, took_by_trying_all)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=11),
    st.lists(st.sampled_from((A, B, Step(action="x"), Step("a", "x"))), min_size=1, max_size=5),
    st.integers(1, 12),
)
@settings(max_examples=200)
def test_both_searches_agree_where_many_chains_compete(
    drawn: list[tuple[str, int]], steps: list[Step], within_s: int
) -> None:
    events, now = [], 0
    for mini_app, gap in drawn:
        now += gap
        events.append(at(now, mini_app, action="x" if now % 2 else None))
    funnel = Funnel("f", within_s, tuple(steps))
    assert took_by_walking(events, funnel) == took_by_trying_all(events, funnel)
