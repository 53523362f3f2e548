"""All marts of a trading day by pandas: texts as categories, each user's events side by side, then one groupby each."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from mart_task import MartTask, asked, done, funnel

GAP_US, AGAIN_US, LONGEST_MS, LARGEST_BYTES = 1_800_000_000, 5_000_000, 1_800_000, 2**30
TEXTS = ["user_id", "mini_app", "action", "screen", "client_firm", "topic"]
ON_KAFKA = ["topic", "kafka_partition", "kafka_offset"]
COLUMNS = ["event_id", "event_time_us", "latency_ms", "payload_bytes", *TEXTS, "kafka_partition", "kafka_offset"]
POWERS = 10 ** np.arange(19)


class Day:
    """The events in the order of each user, texts as the codes of sorted categories (-1: missing)."""

    def __init__(self, task: MartTask) -> None:
        of_day = [("trading_day", "=", date.fromisoformat(task.day))]
        table = pq.read_table(task.files, columns=COLUMNS, filters=of_day, read_dictionary=TEXTS, partitioning=None)
        raw = table.to_pandas(self_destruct=True)
        del table
        self.texts: dict[str, pd.Index] = {}
        for name in TEXTS:
            self.texts[name] = raw[name].cat.categories.sort_values()
            raw[name] = raw[name].cat.set_categories(self.texts[name]).cat.codes.astype(np.int32)
        doubled = raw[raw.duplicated(["user_id", "event_id"], keep=False)].sort_values(ON_KAFKA)
        raw = raw.drop(index=doubled.index[doubled.duplicated(["user_id", "event_id"])]).drop(columns="event_id")
        order = np.lexsort([raw[name] for name in (*ON_KAFKA[::-1], "event_time_us", "user_id")])
        self.events = raw.drop(columns=ON_KAFKA).take(order).reset_index(drop=True)
        self._relate()

    def _relate(self) -> None:
        e = self.events
        gap = e.event_time_us.diff().fillna(GAP_US).astype(np.int64)
        goes_on = (e.user_id == e.user_id.shift()) & (gap < GAP_US)
        goes_on_2 = goes_on & goes_on.shift(fill_value=False)
        goes_on_3 = goes_on_2 & goes_on.shift(2, fill_value=False)
        for steps, holds in enumerate((goes_on, goes_on_2, goes_on_3), start=1):
            e[f"prev{steps}"] = e.mini_app.shift(steps, fill_value=-1).where(holds, -1)
        e["dwell_before_us"] = gap.where(goes_on, 0)
        e["has_next"] = goes_on.shift(-1, fill_value=False)
        e["dwell_us"] = e.dwell_before_us.shift(-1, fill_value=0)
        e["timed"] = (e.latency_ms >= 0) & (e.latency_ms <= LONGEST_MS)
        e["latency_us"] = np.floor(e.latency_ms.where(e.timed, 0) * 1000).astype(np.int64)
        e["sized"] = (e.payload_bytes >= 0) & (e.payload_bytes <= LARGEST_BYTES)
        e["payload_bytes"] = np.floor(e.payload_bytes.where(e.sized, 0)).astype(np.int64)
        e["error"] = e.action.isin(self.texts["action"].get_indexer(["error"])) & (e.action >= 0)
        elsewhere = e.mini_app.shift(-1, fill_value=-1) != e.mini_app
        e["abandoned"] = e.has_next & elsewhere & e.timed & (e.dwell_us < e.latency_us)
        same = (e.prev1 == e.mini_app) & (e.action == e.action.shift()) & (e.screen == e.screen.shift())
        e["repeated"] = same & (gap < AGAIN_US)
        e["visit"] = e.prev1 != e.mini_app
        e["session"] = (~goes_on).cumsum()

    def write(self, task: MartTask, mart: str, rows: pd.DataFrame, **texts: str) -> None:
        """Write a mart; ``texts``: which of its columns hold codes, and of what."""
        for column, of in texts.items():
            rows[column] = pd.Categorical.from_codes(rows[column], self.texts[of])
        rows.to_parquet(task.mart(mart), index=False)


def grouped(rows: pd.DataFrame, by: list[str], sums: list[str]) -> pd.DataFrame:
    """Counted as ``events``, and summed."""
    groups = rows.groupby(by, sort=False)
    return pd.concat([groups.size().rename("events"), groups[sums].sum()], axis=1).reset_index()


def sessions_and_profiles(day: Day, task: MartTask) -> None:
    e = day.events
    none = len(day.texts["client_firm"])
    uses = grouped(e, ["user_id", "session", "mini_app"], ["visit", "dwell_us", "error"])
    groups = e.assign(client_firm=e.client_firm.where(e.client_firm >= 0, none)).groupby("session", sort=False)
    sessions = groups.agg(
        user_id=("user_id", "first"), client_firm=("client_firm", "min"), started_us=("event_time_us", "first"),
        ended_us=("event_time_us", "last"), events=("error", "size"), first_mini_app=("mini_app", "first"),
        last_mini_app=("mini_app", "last"), errors=("error", "sum"),
    )  # fmt: skip
    sessions["mini_apps"] = uses.groupby("session").size()
    sessions["client_firm"] = sessions.client_firm.where(sessions.client_firm < none, -1)
    sessions["session_number"] = sessions.groupby("user_id").cumcount() + 1
    apps = {"first_mini_app": "mini_app", "last_mini_app": "mini_app"}
    day.write(task, "user_sessions", sessions, user_id="user_id", client_firm="client_firm", **apps)
    profiles = grouped(uses.drop(columns="events").assign(of_uses=uses.events), ["user_id", "mini_app"],
                       ["of_uses", "visit", "dwell_us", "error"])  # fmt: skip
    names = {"events": "user_sessions", "of_uses": "events", "visit": "visits", "error": "errors"}
    used = np.zeros((len(day.texts["user_id"]), len(day.texts["mini_app"])), np.float32)
    used[profiles.user_id, profiles.mini_app] = 1
    day.write(task, "user_profiles", profiles.rename(columns=names), user_id="user_id", mini_app="mini_app")
    together = np.triu(used.T @ used)
    one, other = together.nonzero()
    pairs = pd.DataFrame({"mini_app": one, "other": other, "users": together[one, other].astype(np.int64)})
    day.write(task, "co_use", pairs, mini_app="mini_app", other="mini_app")


def app_transitions(day: Day, task: MartTask) -> None:
    folds = day.texts["user_id"].str[:2].map({f"{number:02x}": number % 5 for number in range(256)})
    rows = day.events.assign(fold=folds.to_numpy()[day.events.user_id]).rename(columns={"mini_app": "next"})
    rows = rows.drop(columns="dwell_us").rename(columns={"dwell_before_us": "dwell_us"})
    before = ["prev3", "prev2", "prev1", "next"]
    found = grouped(rows, ["fold", *before], ["dwell_us", "timed", "latency_us"])
    texts = dict.fromkeys(before, "mini_app")
    day.write(task, "app_transitions", found.rename(columns={"events": "transitions"}), **texts)


def usage_series(day: Day, task: MartTask) -> None:
    rows = day.events[["user_id", "mini_app", "error"]].assign(minute_us=day.events.event_time_us // 60_000_000)
    of_users = grouped(rows, ["minute_us", "mini_app", "user_id"], ["error"]).rename(columns={"events": "of_user"})
    found = grouped(of_users, ["minute_us", "mini_app"], ["of_user", "error"])
    found["minute_us"] *= 60_000_000
    names = {"events": "users", "of_user": "events", "error": "errors"}
    day.write(task, "usage_series", found.rename(columns=names), mini_app="mini_app")


def paths(day: Day, task: MartTask) -> None:
    visits = day.events.loc[day.events.visit, ["session", "mini_app"]]
    number = visits.groupby("session").cumcount()
    first = visits[number < 5]
    steps = np.full((day.events.session.iloc[-1], 5), -1)
    steps[first.session - 1, number[number < 5]] = first.mini_app
    names = [f"step_{step}" for step in range(1, 6)]
    found = pd.DataFrame(steps, columns=names).groupby(names, sort=False).size().rename("user_sessions")
    day.write(task, "paths", found.reset_index(), **dict.fromkeys(names, "mini_app"))


def waits(day: Day, task: MartTask) -> None:
    texts = {"mini_app": "mini_app", "action": "action"}
    sums = ["timed", "latency_us", "error", "abandoned", "repeated", "sized", "payload_bytes"]
    found = grouped(day.events, [*texts], sums)
    day.write(task, "friction", found.rename(columns={"error": "errors", "repeated": "repeats"}), **texts)
    timed = day.events.loc[day.events.timed, ["mini_app", "action", "latency_us"]]
    digits = np.maximum(np.searchsorted(POWERS, timed.latency_us, side="right"), 1)
    leading = timed.latency_us // POWERS[np.maximum(digits - 2, 0)]
    histogram = grouped(timed.assign(bucket=100 * digits + leading), ["mini_app", "action", "bucket"], [])
    day.write(task, "latency_histogram", histogram, **texts)


def funnels(day: Day, task: MartTask) -> None:
    wanted = funnel()
    steps = day.texts["mini_app"].get_indexer(wanted.steps)
    f = day.events.loc[day.events.mini_app.isin(steps), ["user_id", "event_time_us", "mini_app"]]
    started = f.event_time_us.where(f.mini_app == steps[0]).astype(float)  # exact: it is below 2**53
    users, took = [], []
    for number in range(len(steps)):
        if number:
            latest = started.groupby(f.user_id).ffill().groupby(f.user_id).shift()
            in_time = (f.mini_app == steps[number]) & (f.event_time_us - latest <= wanted.within_us)
            started = latest.where(in_time)
        arrived = f[started.notna()].drop_duplicates("user_id")
        users.append(len(arrived))
        took.append(int((arrived.event_time_us - started[arrived.index]).sum()))
    rows = {"funnel": wanted.name, "step": range(1, len(steps) + 1), "users": users, "took_us": took}
    day.write(task, "funnels", pd.DataFrame(rows))


MARTS: tuple[Callable[[Day, MartTask], None], ...] = (
    sessions_and_profiles, app_transitions, usage_series, paths, waits, funnels,
)  # fmt: skip


def main() -> None:
    task = asked()
    day = Day(task)
    for make in MARTS:
        make(day, task)
    done()


if __name__ == "__main__":
    main()
