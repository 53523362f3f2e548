"""The platform's SQL as it is told to Synapse."""

from __future__ import annotations

import pytest

from usage_analytics.warehouse.dialects import to_tsql
from usage_analytics.warehouse.marts import repeated_events_sql
from usage_analytics_tests.tsql import script_dom

NAMES = {"usage_events": "[s].[usage_events]", "repeated_events": "#repeated_events"}


def test_a_fingerprint_is_both_texts() -> None:
    said = to_tsql(repeated_events_sql("{e}trading_day = :day"), NAMES)
    assert "FINGERPRINT" not in said and "CONCAT" not in said
    assert "GROUP BY [e].[user_id], [e].[event_id] HAVING" in said
    assert "ON [d].[fingerprint_1] = [e].[user_id] AND [d].[fingerprint_2] = [e].[event_id]" in said


@pytest.mark.skipif(bool(script_dom.missing()), reason=script_dom.missing())
def test_the_judge_takes_it_by_itself_and_within_an_insert() -> None:
    from usage_analytics_tests.tsql.judging import faults

    query = repeated_events_sql("{e}trading_day = :day")
    for statement in (query, f"INSERT INTO repeated_events (topic, kafka_partition, kafka_offset) {query}"):
        assert list(faults(to_tsql(statement, NAMES).replace(":day", "@day"))) == []


def test_a_fingerprint_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="FINGERPRINT is selected, grouped by or compared, not as in FINGERPRINT"):
        to_tsql("SELECT user_id FROM usage_events ORDER BY FINGERPRINT(user_id, event_id)", NAMES)
