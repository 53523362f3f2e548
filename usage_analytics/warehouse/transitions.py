"""What followed what: readings of `app_transitions`, and of the events behind it."""

from datetime import date

import polars as pl

from usage_analytics.tables import APP_TRANSITIONS, REPEATED_EVENTS
from usage_analytics.warehouse.marts import FOLDS, MartRules, sql
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.refreshing import find_repeated, make_session_events

COUNTS = """
SELECT fold, prev3, prev2, prev1, next, CAST(SUM(transitions) AS BIGINT) AS transitions
FROM app_transitions WHERE trading_day <= :until GROUP BY fold, prev3, prev2, prev1, next
"""
BUSIEST = """
SELECT prev1, next, CAST(SUM(transitions) AS BIGINT) AS transitions, SUM(dwell_us) / 1e6 / SUM(transitions) AS dwell_s
FROM app_transitions WHERE trading_day = :day AND prev1 IS NOT NULL AND prev1 <> next
GROUP BY prev1, next ORDER BY 3 DESC, prev1, next
"""
COUNTS_BY_PROPERTY = f"""
SELECT fold, prev3, prev2, prev1, next, CAST(SUM(transitions) AS BIGINT) AS transitions
FROM ({sql("app_transitions")}) AS counted GROUP BY fold, prev3, prev2, prev1, next
"""
MADE = "SELECT version, rule FROM mart_ledger WHERE mart = :mart AND trading_day = :day"
RECENT = """
SELECT mini_app FROM session_events
WHERE session_number = (SELECT MAX(session_number) FROM session_events) ORDER BY position
"""


def counts_made(warehouse: Warehouse, day: date) -> tuple[int, str | None] | None:
    """The version of the events, and the rule, that `app_transitions` of a trading day was made by; None before."""
    with warehouse.session() as session:
        made = session.rows(MADE, {"mart": APP_TRANSITIONS.name, "day": day})
    return (made[0][0], made[0][1]) if made else None


def transition_counts(warehouse: Warehouse, until: date | None = None) -> pl.DataFrame:
    """The counts over the trading days, of all or up to one, in the mart's own folds of users."""
    return _in_order(warehouse.read(COUNTS, {"until": until or date.max}))


def transition_counts_by(warehouse: Warehouse, fold_property: str) -> pl.DataFrame:
    """The same counts of all loaded events, in folds by a whole number that they carry under a property.

    The fold is null where the property is missing or holds something else.
    """
    fold = f"TRY_CAST(JSON_EXTRACT_STRING(e.properties, :property) AS BIGINT) % {FOLDS}"
    with warehouse.session() as session:
        path = session.path_of_property(fold_property)
        find_repeated(session, "1 = 1", {})
        session.update_statistics(REPEATED_EVENTS)
        make_session_events(session, "1 = 1", {"property": path}, MartRules(), fold)
        return _in_order(session.frame(COUNTS_BY_PROPERTY))


def mini_apps(warehouse: Warehouse) -> list[str]:
    """The mini-apps that `app_transitions` knows."""
    return warehouse.read("SELECT DISTINCT next AS mini_app FROM app_transitions").get_column("mini_app").to_list()


def busiest_transitions(warehouse: Warehouse, trading_day: date, count: int) -> pl.DataFrame:
    """Of a day, the commonest changes of mini-app: ``prev1``, ``next``, ``transitions``, ``dwell_s`` on average."""
    return warehouse.read(BUSIEST, {"day": trading_day}).head(count)


def recent_mini_apps(warehouse: Warehouse, user_id: str, count: int) -> list[str]:
    """What a user opened last in his last user session, oldest first; empty for one without events."""
    with warehouse.session() as session:
        [(day,)] = session.rows(
            "SELECT MAX(trading_day) FROM usage_events WHERE user_id = :user_id", {"user_id": user_id}
        )
        if day is None:
            return []
        mine = "{e}user_id = :user_id AND {e}trading_day = :day"
        find_repeated(session, mine, {"user_id": user_id, "day": day})
        make_session_events(session, mine, {"user_id": user_id, "day": day}, MartRules())
        return [mini_app for (mini_app,) in session.rows(RECENT)][-count:]


def _in_order(counts: pl.DataFrame) -> pl.DataFrame:
    # Not by the query: column stores differ in where nulls stand.
    return counts.sort("fold", "prev3", "prev2", "prev1", "next", nulls_last=True)
