"""What the warehouse tells of users: of which class each is, by what was opened over some trading days."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.users.latent_classes import LatentClasses, learn_classes
from usage_analytics.models.branching.users.user_classes import NO_CLASS, NO_CLASSES, UserClasses, user_keys
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.session_sample import share_of_users
from usage_analytics.warehouse.user_slices import UserSlice
from usage_analytics.warehouse.user_visits import profile_rows, visits_by_slice, visits_of

MOST_PROFILES = 1_000_000  # rows of `user_profiles`, one for each user, day and mini-app: they are held in memory
PROFILE_DAYS = 20  # trading days by which users are told apart: who changes his ways changes his class


def classes_before(
    warehouse: Warehouse, trading_day: date, users: UserSlice, mini_apps: tuple[str, ...]
) -> tuple[LatentClasses, UserClasses]:
    """The classes that some users fall into by the trading days before one, and the class of each of these users.

    Where they are very many, of some of them.
    """
    until = trading_day - timedelta(days=1)
    fewer = share_of_users(users, MOST_PROFILES, profile_rows(warehouse, until, PROFILE_DAYS))
    earlier = visits_of(warehouse, until, PROFILE_DAYS, fewer)
    classes = learn_classes(visit_matrix(earlier, mini_apps)[1], mini_apps)
    return classes, classified(classes, [earlier])


def classes_now(warehouse: Warehouse, trading_day: date, classes: LatentClasses) -> UserClasses:
    """The class of every user by the trading days up to one."""
    return classified(classes, visits_by_slice(warehouse, trading_day, PROFILE_DAYS))


def classified(classes: LatentClasses, visits: Iterable[pl.DataFrame]) -> UserClasses:
    """Of rows user_id, mini_app, visits, a user's all in one piece: the users who have a class."""
    keys, found = [NO_CLASSES.keys], [NO_CLASSES.classes]
    for some in visits if len(classes) else ():
        users, counted = visit_matrix(some, classes.mini_apps)
        of_users = classes.of(counted)
        known = np.flatnonzero(of_users != NO_CLASS)
        keys.append(user_keys(users.take(pa.array(known))))
        found.append(of_users[known])
    return UserClasses.gathered(np.concatenate(keys), np.concatenate(found))


def visit_matrix(visits: pl.DataFrame, mini_apps: tuple[str, ...]) -> tuple[pa.StringArray, Floats]:
    """Users, and their visits (users, mini_apps); those to other mini-apps are left out."""
    known = visits.filter(pl.col("mini_app").is_in(mini_apps))
    users = known.get_column("user_id").unique().sort()
    rows = known.select(
        pl.col("user_id").rank("dense").cast(pl.Int64) - 1,
        pl.col("mini_app").cast(pl.Enum(mini_apps)).to_physical().cast(pl.Int64),
    )
    matrix = np.zeros((len(users), len(mini_apps)))
    np.add.at(matrix, (rows["user_id"].to_numpy(), rows["mini_app"].to_numpy()), known["visits"].to_numpy())
    return users.to_arrow().cast(pa.string()), matrix
