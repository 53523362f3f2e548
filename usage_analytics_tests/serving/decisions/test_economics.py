"""What a preload saves and costs: measured means, shrunk where few were measured, and medians where nothing was."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.errors import UserError
from usage_analytics.serving.decisions.economics import Economics, estimate_economics, opening_facts, unnamed_openings

APPS = ("blotter", "charts", "chat", "quotes")
SCHEMA = {"mini_app": pl.String, "openings": pl.Int64, "latency_us": pl.Int64, "sized": pl.Int64}
SCHEMA["payload_bytes"] = pl.Int64


def facts(*rows: tuple[str, int, int, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_well_measured_mini_apps_have_their_own_means() -> None:
    many = 1_000_000
    rows = [
        (name, many, many * 1000 * ms, many, many * size) for name, ms, size in zip(APPS, LATENCY, SIZE, strict=True)
    ]
    found = estimate_economics(facts(*rows), APPS)
    assert found.saved_ms == pytest.approx(LATENCY, rel=1e-3)
    assert found.payload_bytes == pytest.approx(SIZE, rel=1e-3)
    assert found.cost_ms == pytest.approx([20 + 28, 20 + 56, 20 + 84, 20 + 140], rel=1e-3)
    assert (found.untimed, found.unsized) == ((), ())


LATENCY, SIZE = (100, 200, 400, 800), (200_000, 400_000, 600_000, 1_000_000)


def test_few_openings_are_shrunk_to_the_median_and_none_give_it() -> None:
    found = estimate_economics(
        facts(
            ("blotter", 1, 9_000_000, 0, 0),
            ("charts", 10_000, 2_000_000_000, 10, 5_000_000),
            ("chat", 10_000, 1_000_000_000, 0, 0),
        ),
        APPS,
    )
    assert found.saved_ms[3] == 200.0, "the median of 9000, 200 and 100"
    assert 200 < found.saved_ms[0] < 1100, "one slow opening is hardly believed"
    assert found.saved_ms[1:3] == pytest.approx([200, 100], rel=2e-3)
    assert found.untimed == ("quotes",)
    assert found.unsized == ("blotter", "chat", "quotes")
    assert found.payload_bytes.tolist() == [500_000.0] * 4


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 10**6)), min_size=1, max_size=8))
def test_what_is_saved_lies_between_the_mean_and_the_median(measured: list[tuple[int, int]]) -> None:
    names = tuple(f"app {number}" for number in range(len(measured)))
    rows = [(n, count, count * mean, 0, 0) for n, (count, mean) in zip(names, measured, strict=True)]
    means = [mean / 1e3 for count, mean in measured if count]
    if not means:
        with pytest.raises(UserError, match="no opening of a mini-app has a latency"):
            estimate_economics(facts(*rows), names)
        return
    found = estimate_economics(facts(*rows), names)
    median = np.median(means)
    for (count, mean), saved in zip(measured, found.saved_ms, strict=True):
        low, high = sorted((mean / 1e3 if count else median, median))
        assert low * (1 - 1e-9) <= saved <= high * (1 + 1e-9)


def test_rows_of_a_mini_app_add_up_and_others_are_left_out() -> None:
    once = facts(("chat", 30, 3_000_000, 10, 1000), ("quotes", 10, 5_000_000, 10, 5000))
    apart = facts(
        ("chat", 10, 1_000_000, 4, 300),
        ("chat", 20, 2_000_000, 6, 700),
        ("quotes", 10, 5_000_000, 10, 5000),
        ("gone", 10, 10**12, 10, 10**12),
    )
    mine = ("chat", "quotes")
    assert estimate_economics(once, mine).saved_ms.tolist() == estimate_economics(apart, mine).saved_ms.tolist()


def test_without_any_payload_sizes_are_0_and_said_to_be_unknown() -> None:
    found = estimate_economics(facts(("chat", 30, 3_000_000, 0, 0)), ("chat", "quotes"))
    assert found.payload_bytes.tolist() == [0.0, 0.0]
    assert found.cost_ms.tolist() == [20.0, 20.0]
    assert found.unsized == ("chat", "quotes")


def test_a_known_cost_replaces_the_estimate() -> None:
    rows = facts(("chat", 30, 3_000_000, 10, 1_000_000))
    found = estimate_economics(rows, ("chat", "quotes"), known_costs_ms={"quotes": 250.0})
    assert found.cost_ms.tolist() == [20 + 14, 250.0]


def test_opening_facts_add_up_the_openings_of_the_friction_mart() -> None:
    friction = pl.DataFrame(
        {
            "trading_day": ["2026-11-23", "2026-11-24", "2026-11-24"],
            "mini_app": ["chat", "chat", "chat"],
            "action": ["open", "open", "click"],
            "events": [9, 9, 9],
            "timed": [4, 5, 9],
            "latency_us": [400, 900, 7],
            "sized": [1, 2, 9],
            "payload_bytes": [10, 30, 7],
        }
    )
    assert opening_facts(friction).rows() == [("chat", 9, 1300, 3, 40)]


def test_mini_apps_that_name_no_opening_are_measured_by_all_their_actions() -> None:
    """Actions are optional, and may be called otherwise; an opening that was never timed tells nothing either."""
    friction = pl.DataFrame(
        {
            "mini_app": ["chat", "chat", "mail", "mail", "news", "news"],
            "action": [None, "launch", "open", "click", "open", "click"],
            "timed": [4, 5, 7, 9, 0, 3],
            "latency_us": [400, 900, 70, 9, 0, 30],
            "sized": [1, 2, 3, 9, 1, 2],
            "payload_bytes": [10, 30, 50, 9, 5, 6],
        }
    )
    assert opening_facts(friction).rows() == [("chat", 9, 1300, 3, 40), ("mail", 7, 70, 3, 50), ("news", 3, 30, 3, 11)]
    assert unnamed_openings(friction) == ("chat", "news")


@pytest.mark.parametrize("field", ["saved_ms", "cost_ms", "payload_bytes"])
@pytest.mark.parametrize("figure", [-1.0, float("nan"), float("inf")])
def test_figures_that_cannot_be_are_refused_by_name(field: str, figure: float) -> None:
    figures = {name: np.ones(2) for name in ("saved_ms", "cost_ms", "payload_bytes")}
    figures[field] = np.array([1.0, figure])
    with pytest.raises(UserError, match=f"{field} of 'quotes' is {figure:g}"):
        Economics(("chat", "quotes"), **figures)


def test_unfit_economics_are_refused() -> None:
    with pytest.raises(ValueError, match="named twice"):
        Economics(("chat", "chat"), np.ones(2), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match=r"cost_ms has the shape \(3,\) for 2 mini-apps"):
        Economics(("chat", "quotes"), np.ones(2), np.ones(3), np.ones(2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("chat", 0, 5, 0, 0), "'chat' has openings 0 and latency_us 5"),
        (("chat", 3, -5, 0, 0), "'chat' has openings 3 and latency_us -5"),
        (("chat", 3, 5, -1, 0), "'chat' has sized -1 and payload_bytes 0"),
        (("chat", 3, 5, 0, 9), "'chat' has sized 0 and payload_bytes 9"),
    ],
)
def test_facts_that_cannot_be_are_refused_by_name(row: tuple[str, int, int, int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        estimate_economics(facts(row, ("quotes", 1, 1, 1, 1)), ("chat", "quotes"))


def test_unfit_costs_and_frames_are_refused() -> None:
    rows = facts(("chat", 3, 5, 1, 1))
    with pytest.raises(UserError, match="a cost is given for 'chart', which is not a mini-app"):
        estimate_economics(rows, ("chat",), known_costs_ms={"chart": 5.0})
    with pytest.raises(UserError, match="cost_ms of 'chat' is -5"):
        estimate_economics(rows, ("chat",), known_costs_ms={"chat": -5.0})
    with pytest.raises(ValueError, match=r"lack the columns \['sized'\]"):
        estimate_economics(rows.drop("sized"), ("chat",))
