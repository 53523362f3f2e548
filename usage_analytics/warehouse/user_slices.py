"""A trading day worked through by slices of its users, so that the memory it takes does not grow with the day.

All that marts count is counted within a user first. So the marts of a day are the sum of those of its slices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from usage_analytics.tables import Table, slices_of

MOST_SLICES = 256


@dataclass(frozen=True)
class UserSlice:
    """A range of pseudonyms: a condition to be added to others, ``{e}`` is the table of events; and its values."""

    condition: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


def slices_of_users(count: int) -> list[UserSlice]:
    """So many slices, MOST_SLICES at most, about even: pseudonyms are hexadecimal digits of a keyed hash."""
    count = min(count, MOST_SLICES)
    bounds = [f"{number * MOST_SLICES // count:02x}" for number in range(1, count)]
    return [_slice(low, high) for low, high in zip([None, *bounds], [*bounds, None], strict=True)]


def added_up(mart: Table) -> str:
    """The query of a mart's rows from those of its slices."""
    columns = mart.column_names()
    if "user_id" in mart.key:  # a user is in one slice
        return f"SELECT {', '.join(columns)} FROM {slices_of(mart).name}"
    summed = [name if name in mart.key else f"SUM({name}) AS {name}" for name in columns]
    return f"SELECT {', '.join(summed)} FROM {slices_of(mart).name} GROUP BY {', '.join(mart.key)}"


def _slice(low: str | None, high: str | None) -> UserSlice:
    bounds = {"lowest_user": ("{e}user_id >= :lowest_user", low), "next_user": ("{e}user_id < :next_user", high)}
    wanted = {name: (condition, value) for name, (condition, value) in bounds.items() if value is not None}
    return UserSlice(
        "".join(f" AND {condition}" for condition, _ in wanted.values()),
        {name: value for name, (_, value) in wanted.items()},
    )
