"""Which instrument users have in hand, and where it leads them, is in the messages as the truth has it."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from simulation.simulated import Simulated, first_events
from simulation.statistics_of_tests import misfit

Reals = npt.NDArray[np.float64]
CLASSES = ("equity", "fixed_income", "fx", "commodity")
ZIPF = 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum()
OFTEN = 500  # steps with an instrument in hand


def leads(steps: pl.DataFrame) -> pl.DataFrame:
    """Where each often used instrument of an asset class leads: ``instrument, leads_to, share, error`` (standard).

    It is where steps go much more often than with the other instruments. Counted are steps to a mini-app that is
    neither of the two before: who goes back or repeats was led there already.
    """
    names, apps = (sorted(steps[column].unique()) for column in ("instrument", "mini_app"))

    def table(column: str, rows: pl.DataFrame) -> Reals:
        found = np.zeros((len(names), len(apps)))
        axes = ((rows["instrument"], names), (rows[column], apps))
        np.add.at(found, tuple(values.cast(pl.Enum(each)).to_physical().to_numpy() for values, each in axes), 1)
        return found

    going_back = pl.col("mini_app").eq_missing(pl.col("before_last")) | (pl.col("mini_app") == pl.col("last"))
    come, visits = table("mini_app", steps.filter(~going_back)), table("mini_app", steps).sum(axis=1, keepdims=True)
    two_behind = steps.drop_nulls("before_last").filter(pl.col("before_last") != pl.col("last"))
    able = visits - table("last", steps) - table("before_last", two_behind)
    by_others = able * (come.sum(axis=0) - come) / (able.sum(axis=0) - able)
    place, each = ((come - by_others) / np.sqrt(by_others + 1)).argmax(axis=1), np.arange(len(names))
    leads_elsewhere = place[:, None] != place  # only those tell how often steps go there anyway
    usual = (come[:, place].T * leads_elsewhere).sum(axis=1) / (able[:, place].T * leads_elsewhere).sum(axis=1)
    rate = come[each, place] / able[each, place]
    error = np.sqrt(rate * (1 - rate) / able[each, place])
    columns = {"leads_to": np.array(apps)[place], "share": (rate - usual) / (1 - usual), "error": error}
    return pl.DataFrame({"instrument": names, **columns}).filter(visits[:, 0] >= OFTEN)


def test_where_instruments_lead_is_found(busy_day: Simulated) -> None:
    """The mini-app of each of 150 or more, without exception.

    The share of steps that go there is 0.06 (± 0.003), and that of each instrument within 4 standard errors of it.
    """
    before = {name: pl.col("mini_app").shift(n).over("user_session") for name, n in (("before_last", 2), ("last", 1))}
    in_hand = pl.col("instrument").shift(1).over("user_session")
    steps = busy_day.walked.with_columns(instrument=in_hand, **before).drop_nulls("last")
    found = pl.concat(leads(steps.filter(asset_class=asset_class)) for asset_class in CLASSES)
    truth = busy_day.table("instruments")
    told = found.join(truth, on="instrument", suffix="_told", maintain_order="left")
    assert found.height >= 150
    assert truth.height == 400
    assert told["leads_to"].to_list() == told["leads_to_told"].to_list()
    share, error = found["share"].to_numpy(), found["error"].to_numpy()
    planted = busy_day.world["chance_to_go_where_the_instrument_leads"]
    assert planted == 0.06
    assert np.average(share, weights=1 / error**2) == pytest.approx(planted, abs=0.003)
    assert np.abs((share - planted) / error).max() <= 4


def test_a_user_session_is_about_one_asset_class_mostly_the_desk_s_own(busy_day: Simulated) -> None:
    """85 of 100 walks are about the desk's own asset class (± 2), the others about each other one as often."""
    desks = busy_day.table("users").select("user", own="asset_class")
    assert busy_day.events.group_by("user_session").agg(pl.col("asset_class").n_unique())["asset_class"].max() == 1
    begun = first_events(busy_day).join(desks, on="user")
    other = begun.filter(pl.col("asset_class") != pl.col("own"))
    assert 1 - other.height / begun.height == pytest.approx(0.85, abs=0.02)
    apart = [(CLASSES.index(there) - CLASSES.index(own)) % 4 for there, own in other["asset_class", "own"].iter_rows()]
    assert np.bincount(apart)[1:] / other.height == pytest.approx([1 / 3] * 3, abs=0.05)


def test_instruments_follow_zipf(busy_day: Simulated) -> None:
    """Of each asset class 100, of which the nth is chosen 1/n times as often as the first (misfit 1 ± 0.5)."""
    number = pl.col("instrument").str.slice(2).cast(pl.Int64)
    chosen = first_events(busy_day).select(number).to_series().to_numpy()
    expected = len(chosen) * ZIPF
    observed = np.bincount(chosen, minlength=100).astype(float)
    assert misfit(observed, expected, expected) == pytest.approx(1, abs=0.5)
    prefixes = busy_day.events.select(pl.col("instrument").str.slice(0, 2), "asset_class").unique()
    assert prefixes.height == 4
    assert dict(prefixes.iter_rows()) == {"EQ": "equity", "BD": "fixed_income", "FX": "fx", "CM": "commodity"}


def test_walks_keep_their_instrument(busy_day: Simulated) -> None:
    """From event to event another one is drawn in 12 of 100 (± 0.5); sometimes that is the same again."""
    same = pl.col("instrument") == pl.col("instrument").shift(1).over("user_session")
    switched = busy_day.walked.select(~same).to_series().drop_nulls()
    assert switched.mean() == pytest.approx(0.12 * (1 - (ZIPF**2).sum()), abs=0.005)
