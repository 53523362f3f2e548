"""The embedded warehouse: one DuckDB file, opened for as long as one step takes.

DuckDB lets one process write at a time, so connections are short and a busy file is waited for.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, text

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.ingestion.shares import EVERYTHING, Share
from usage_analytics.warehouse.duckdb_file import opened, rebuild, sql
from usage_analytics.warehouse.protocol import MARTS, PLAN, Freshness, LoadReceipt, MartReceipt
from usage_analytics.warehouse.window_loading import duckdb_of, load

FOLDS = 5
# The pseudonym's first two hexadecimal digits as a number, so that a user stays in one fold on every day and in every
# engine: DuckDB, T-SQL and Spark all read this. A digit's value is its ASCII code less that of '0', modulo 39, because
# 'a' comes 39 codes after the place where the digit ten would be.
FOLD_OF_USER = (
    f"((ascii(substring(user_id, 1, 1)) - 48) % 39 * 16 + (ascii(substring(user_id, 2, 1)) - 48) % 39) % {FOLDS}"
)

# Where a mart counts each event once; what the day has more are duplicates.
COUNTS_EVENTS = {"user_sessions": "events", "app_transitions": "transitions"}


@dataclass(frozen=True)
class DuckDBWarehouse:
    """A `Warehouse` in one file."""

    path: Path
    wait_s: float = 60.0  # while another process has the file
    memory_limit: str = "768MB"

    @property
    def rebuild(self) -> str:
        return rebuild(self.path)

    def load_window(
        self, topic: str, window: str, chunks: Iterable[EnrichedChunk], share: Share = EVERYTHING
    ) -> LoadReceipt:
        with self._transaction() as connection:
            return load(connection, self.path, topic, window, list(chunks), share)

    def freshness(self, topic: str, window: str) -> Freshness | None:
        median, p95 = self.read(sql("freshness"), [topic, window]).row(0)
        return None if median is None else Freshness(median, p95)

    def refresh_mart(self, mart: str, trading_day: date) -> MartReceipt:
        if mart not in MARTS:
            raise ValueError(f"{mart!r} is not a mart ({', '.join(MARTS)})")
        with self._transaction() as connection:
            of_day, day = "WHERE trading_day = :day", {"day": trading_day}
            version = connection.execute(text(_VERSION), day).scalar() or 0
            connection.execute(text(f"DELETE FROM {mart} {of_day}"), day)
            select = _mart_sql(mart, "trading_day = :day", FOLD_OF_USER)
            connection.execute(text(f"INSERT INTO {mart} BY NAME {select}"), day)
            count = f"SELECT count(*), coalesce(sum({COUNTS_EVENTS[mart]}), 0) FROM {mart} {of_day}"
            rows, counted = connection.execute(text(count), day).one()
            events = connection.execute(text(f"SELECT count(*) FROM usage_events {of_day}"), day).scalar_one()
            values = {"mart": mart, "day": trading_day, "version": version, "rows": rows, "rule": _rule(mart)}
            connection.execute(text(_MART_LEDGER), values)
        return MartReceipt(rows, version, duplicates_dropped=int(events - counted))

    def stale_days(self) -> list[date]:
        rules = {**{mart: _rule(mart) for mart in MARTS}, PLAN: _rule("app_transitions")}
        days = self.read(STALE_DAYS, [list(rules), list(rules.values())])
        return days.get_column("trading_day").to_list()

    def replace_plan(self, trading_day: date, plan: pl.DataFrame) -> None:
        with self._transaction() as connection:
            connection.execute(text("DELETE FROM preload_plan WHERE trading_day = :day"), {"day": trading_day})
            raw = duckdb_of(connection)
            raw.register("new_plan", plan.to_arrow())
            raw.execute(
                "INSERT INTO preload_plan BY NAME SELECT ?::DATE AS trading_day, * FROM new_plan", [trading_day]
            )
            raw.unregister("new_plan")
            # The plan is as new as the counts that its model learned from, and of their rule.
            made_from = "SELECT version, rule FROM mart_ledger WHERE mart = 'app_transitions' AND trading_day = :day"
            version, rule = connection.execute(text(made_from), {"day": trading_day}).one_or_none() or (0, None)
            values = {"mart": PLAN, "day": trading_day, "version": version, "rows": plan.height, "rule": rule}
            connection.execute(text(_MART_LEDGER), values)

    def newest_plan(self) -> tuple[date, pl.DataFrame] | None:
        day = self.read("SELECT max(trading_day) AS day FROM preload_plan").item()
        if day is None:
            return None
        return day, self.read("SELECT * EXCLUDE trading_day FROM preload_plan WHERE trading_day = ?", [day])

    def faulty_contexts(self, trading_day: date) -> list[str]:
        return self.read(FAULTY_CONTEXTS, [trading_day]).get_column("context").to_list()

    def mini_apps(self) -> list[str]:
        return self.read("SELECT DISTINCT next AS mini_app FROM app_transitions").get_column("mini_app").to_list()

    def busiest_transitions(self, trading_day: date, count: int) -> pl.DataFrame:
        return self.read(BUSIEST_TRANSITIONS, [trading_day, count])

    def transition_counts(self, until: date | None = None) -> pl.DataFrame:
        return self.read(TRANSITIONS_UNTIL, [until or date.max])

    def transition_counts_by(self, fold_property: str) -> pl.DataFrame:
        name = fold_property.replace("~", "~0").replace("/", "~1")  # as a JSON pointer wants it: any name is one
        fold = f"TRY_CAST(json_extract_string(properties, ?) AS BIGINT) % {FOLDS}"
        return self.read(_mart_sql("app_transitions", "true", fold), [f"/{name}"])

    def recent_mini_apps(self, user_id: str, count: int) -> list[str]:
        last_day = "SELECT max(trading_day) FROM usage_events WHERE user_id = ?"
        query = _mart_sql("recent_mini_apps", f"user_id = ? AND trading_day = ({last_day})", FOLD_OF_USER)
        return self.read(query, [user_id, user_id, count]).get_column("mini_app").to_list()[::-1]

    def read(self, query: str, parameters: Sequence[object] = ()) -> pl.DataFrame:
        with self._connection() as connection:
            rows = duckdb_of(connection).sql(query, params=list(parameters)).to_arrow_table()
        return pl.DataFrame(pl.from_arrow(rows))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._connection() as connection, connection.begin():
            yield connection

    def _connection(self) -> AbstractContextManager[Connection]:
        return opened(self.path, self.wait_s, self.memory_limit)


BUSIEST_TRANSITIONS = """
SELECT prev1, next, CAST(sum(transitions) AS BIGINT) AS transitions, sum(dwell_us) / sum(transitions) / 1e6 AS dwell_s
FROM app_transitions WHERE trading_day = ? AND prev1 IS NOT NULL AND prev1 <> next
GROUP BY prev1, next ORDER BY sum(app_transitions.transitions) DESC, prev1, next LIMIT ?
"""
TRANSITIONS_UNTIL = """
SELECT fold, prev3, prev2, prev1, next, CAST(sum(transitions) AS BIGINT) AS transitions
FROM app_transitions WHERE trading_day <= ? GROUP BY ALL ORDER BY ALL
"""
FAULTY_CONTEXTS = """
SELECT context FROM preload_plan WHERE trading_day = ? GROUP BY context
HAVING sum(probability) > 1 + 1e-9 OR bool_or(ends_with(' > ' || context, ' > ' || mini_app))
"""
STALE_DAYS = """
SELECT v.trading_day FROM trading_day_versions v CROSS JOIN (SELECT unnest(?) AS mart, unnest(?) AS rule) m
LEFT JOIN mart_ledger l ON l.trading_day = v.trading_day AND l.mart = m.mart
WHERE l.version IS DISTINCT FROM v.version OR l.rule IS DISTINCT FROM m.rule
GROUP BY v.trading_day ORDER BY v.trading_day
"""
_VERSION = "SELECT version FROM trading_day_versions WHERE trading_day = :day"
_MART_LEDGER = """
INSERT OR REPLACE INTO mart_ledger (mart, trading_day, version, row_count, refreshed_at, rule)
VALUES (:mart, :day, :version, :rows, now(), :rule)
"""


def _rule(mart: str) -> str:
    return hashlib.sha256(_mart_sql(mart, "", FOLD_OF_USER).encode()).hexdigest()[:16]


def _mart_sql(mart: str, days: str, fold: str) -> str:
    session_events = sql("session_events").replace("{days}", days)
    return sql(mart).replace("{session_events}", session_events).replace("{fold}", fold)
