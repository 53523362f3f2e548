"""What a preload saves and what it costs, by mini-app, in milliseconds of a user's waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from usage_analytics.errors import UserError
from usage_analytics.serving.arrays import Floats

PRICE_PER_CALL_MS, PRICE_PER_MB_MS = 20.0, 140.0  # a megabyte is 10**6 bytes
BYTES_PER_MB = 1e6
OPENING = "open"

_PRIOR_OPENINGS = 10.0  # the median of all mini-apps counts as much as so many measured openings of one
_FACTS = ("openings", "latency_us", "sized", "payload_bytes")


@dataclass(frozen=True)
class Economics:
    """What one preload of each mini-app is worth: arrays of one length, by position in ``mini_apps``.

    UserError names the mini-app whose figure is negative, infinite or not a number.
    """

    mini_apps: tuple[str, ...]
    saved_ms: Floats  # waiting that a preload saves when the mini-app is opened next
    cost_ms: Floats  # what a preload costs at price 1, used or not
    payload_bytes: Floats  # what a preload transfers
    untimed: tuple[str, ...] = ()  # mini-apps whose saved_ms is the median of the others
    unsized: tuple[str, ...] = ()  # mini-apps whose payload_bytes is the median of the others, 0 if none was sized
    unnamed: tuple[str, ...] = ()  # mini-apps none of whose timed actions is called an opening: all are taken for one

    def __post_init__(self) -> None:
        if len(set(self.mini_apps)) != len(self.mini_apps):
            raise ValueError("a mini-app is named twice in the economics of preloads")
        for field in ("saved_ms", "cost_ms", "payload_bytes"):
            figures = getattr(self, field)
            if figures.shape != (len(self.mini_apps),):
                raise ValueError(f"{field} has the shape {figures.shape} for {len(self.mini_apps)} mini-apps")
            for position in np.flatnonzero(~(np.isfinite(figures) & (figures >= 0)))[:1]:
                told = f"{field} of {self.mini_apps[position]!r} is {figures[position]:g}"
                raise UserError(f"economics of preloads: {told}; it must be a number from 0 on")


def opening_facts(friction: pl.DataFrame, action: str = OPENING) -> pl.DataFrame:
    """Per mini-app, the sums over its openings that `estimate_economics` takes, from rows of the mart ``friction``.

    friction: mini_app, action, timed, latency_us, sized, payload_bytes; trading days add up. Where no timed action of a
    mini-app is called ``action``, each of its actions is taken for an opening.
    """
    return (
        friction.filter(_opens(action) | ~_names_openings(action))
        .group_by("mini_app")
        .agg(pl.col("timed").sum().alias("openings"), pl.col("latency_us", "sized", "payload_bytes").sum())
        .sort("mini_app")
    )


def unnamed_openings(friction: pl.DataFrame, action: str = OPENING) -> tuple[str, ...]:
    """Mini-apps with timed actions, all of which `opening_facts` takes for openings, sorted."""
    timed = friction.filter(~_names_openings(action)).filter(pl.col("timed") > 0)
    return tuple(timed.get_column("mini_app").unique().sort())


def estimate_economics(
    facts: pl.DataFrame,
    mini_apps: tuple[str, ...],
    *,
    known_costs_ms: Mapping[str, float] | None = None,
) -> Economics:
    """The economics of ``mini_apps``, from what was measured of their openings.

    facts: mini_app, openings (those with a latency), latency_us (their sum), sized (openings with a payload),
    payload_bytes (their sum); rows of one mini-app add up. Means are shrunk to the median of all mini-apps, the
    more the fewer were measured. ``known_costs_ms`` replaces the cost of the mini-apps that it names.
    UserError when nothing was timed at all, or when a fact or a cost cannot be.
    """
    openings, latency_us, sized, total_bytes = _measured(facts, mini_apps)
    if not openings.any():
        what = "no opening of a mini-app has a latency, so nobody knows what a preload saves"
        raise UserError(f"economics of preloads: {what}; map latency_ms in the contract")
    payload_bytes = _shrunk(total_bytes, sized)
    cost_ms = PRICE_PER_CALL_MS + payload_bytes / BYTES_PER_MB * PRICE_PER_MB_MS
    return Economics(
        mini_apps,
        saved_ms=_shrunk(latency_us / 1e3, openings),
        cost_ms=_with_known(cost_ms, mini_apps, known_costs_ms or {}),
        payload_bytes=payload_bytes,
        untimed=_where_none(mini_apps, openings),
        unsized=_where_none(mini_apps, sized),
    )


def estimate_payloads(facts: pl.DataFrame, mini_apps: tuple[str, ...]) -> Floats:
    """What a preload of each transfers, (mini_apps,), as in `estimate_economics`; 0 where nothing was sized."""
    _, _, sized, total_bytes = _measured(facts, mini_apps)
    return _shrunk(total_bytes, sized)


def _opens(action: str) -> pl.Expr:
    return (pl.col("action") == action).fill_null(False)


def _names_openings(action: str) -> pl.Expr:
    return (_opens(action) & (pl.col("timed") > 0)).any().over("mini_app")


def _measured(facts: pl.DataFrame, mini_apps: tuple[str, ...]) -> list[Floats]:
    missing = [name for name in ("mini_app", *_FACTS) if name not in facts.columns]
    if missing:
        raise ValueError(f"the facts of openings lack the columns {missing}; they have {facts.columns}")
    figures = facts.select(pl.col("mini_app").cast(pl.String), pl.col(_FACTS).cast(pl.Float64))
    summed = figures.group_by("mini_app").agg(pl.col(_FACTS).sum())
    for count, total in (("openings", "latency_us"), ("sized", "payload_bytes")):
        possible = (pl.col(count) > 0) & (pl.col(total) >= 0) | (pl.col(count) == 0) & (pl.col(total) == 0)
        impossible = summed.filter(~(possible & pl.col(total).is_finite())).select("mini_app", count, total)
        for name, counted, added in impossible.rows()[:1]:
            what = f"{name!r} has {count} {counted:g} and {total} {added:g}"
            raise UserError(f"economics of preloads: {what}, which cannot be")
    asked = pl.DataFrame({"mini_app": mini_apps}, schema={"mini_app": pl.String})
    aligned = asked.join(summed, on="mini_app", how="left", maintain_order="left").fill_null(0.0)
    return [aligned[name].to_numpy() for name in _FACTS]


def _shrunk(totals: Floats, counts: Floats) -> Floats:
    seen = counts > 0
    median = float(np.median(totals[seen] / counts[seen])) if seen.any() else 0.0
    return np.asarray((totals + _PRIOR_OPENINGS * median) / (counts + _PRIOR_OPENINGS), np.float64)


def _with_known(cost_ms: Floats, mini_apps: tuple[str, ...], known: Mapping[str, float]) -> Floats:
    unknown = sorted(set(known) - set(mini_apps))
    if unknown:
        raise UserError(f"economics of preloads: a cost is given for {unknown[0]!r}, which is not a mini-app")
    return np.array([known.get(name, cost) for name, cost in zip(mini_apps, cost_ms, strict=True)], np.float64)


def _where_none(mini_apps: tuple[str, ...], counts: Floats) -> tuple[str, ...]:
    return tuple(name for name, count in zip(mini_apps, counts, strict=True) if not count)
