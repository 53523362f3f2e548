"""What is in a warehouse, held against the plain-Python oracles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from fakes import TOPIC
from hypothesis import strategies as st

from usage_analytics.tables import MARTS, Table
from usage_analytics.warehouse import funnel_definitions
from usage_analytics.warehouse.marts import FOLDS, MartRules
from usage_analytics.warehouse.protocol import Warehouse
from usage_analytics.warehouse.refreshing import MartReceipt
from usage_analytics_tests.warehouse import mart_oracle as oracle
from usage_analytics_tests.warehouse import view_oracle
from usage_analytics_tests.warehouse.funnel_oracle import Funnel, expected_funnels
from usage_analytics_tests.warehouse.session_oracle import Event, each_event_once

Receipts = Mapping[date, Mapping[str, MartReceipt]]
WINDOWS = ["2026-11-23T1000", "2026-11-23T1015", "2026-11-23T1030"]


def fold_of(user_id: str) -> int:
    return int(user_id[:2], 16) % FOLDS


def expected(mart: Table, events: Sequence[Event], funnels: Sequence[Funnel]) -> set[tuple[Any, ...]]:
    if mart.name == "app_transitions":
        return oracle.expected_app_transitions(events, fold_of)
    if mart.name == "funnels":
        return expected_funnels(events, funnels)
    return getattr(oracle, f"expected_{mart.name}")(events)


def rules_of(funnels: Sequence[Funnel]) -> MartRules:
    as_defined = [
        funnel_definitions.Funnel(
            funnel.name, funnel.within_s,
            tuple(funnel_definitions.Step(step.mini_app, step.action, step.screen) for step in funnel.steps),
        )
        for funnel in funnels
    ]  # fmt: skip
    return MartRules(funnels=tuple(as_defined))


def load(warehouse: Warehouse, chunks: dict[str, Any], order: Sequence[str] = WINDOWS) -> None:
    for window in order:
        warehouse.load_window(TOPIC, window, chunks.get(window, []))


def assert_equals_oracle(warehouse: Warehouse, events: Sequence[Event], funnels: Sequence[Funnel] = ()) -> None:
    for mart in MARTS:
        found = warehouse.read(f"SELECT {', '.join(mart.column_names())} FROM {mart.name}").rows()
        assert oracle.differences(found, expected(mart, events, funnels)) == [], mart.name


def assert_receipts_equal_oracle(receipts: Receipts, events: Sequence[Event]) -> None:
    for day, of_day in receipts.items():
        mine = [event for event in events if event.trading_day == day]
        once = [event for event in each_event_once(events) if event.trading_day == day]
        untimed = sum(event.latency_ms is not None and event.latency_us is None for event in mine)
        unsized = sum(event.payload_bytes is not None and event.whole_bytes is None for event in mine)
        found = {(r.duplicates_dropped, r.latencies_left_out, r.payloads_left_out) for r in of_day.values()}
        assert found == {(len(mine) - len(once), untimed, unsized)}, day


def assert_views_equal_oracle(warehouse: Warehouse, events: Sequence[Event]) -> None:
    for view in ("app_adoption", "retention", "stickiness", "latency_percentiles"):
        wanted = getattr(view_oracle, f"expected_{view}")(events)
        names = getattr(view_oracle, ROWS_OF[view])._fields
        found = warehouse.read(f"SELECT {', '.join(names)} FROM {view}").rows()
        assert oracle.differences(found, {tuple(row) for row in wanted}) == [], view


ROWS_OF = {
    "app_adoption": "Adoption", "retention": "Retention", "stickiness": "Stickiness",
    "latency_percentiles": "Percentiles",
}  # fmt: skip


@st.composite
def windows_of(draw: st.DrawFn, events: Sequence[Event]) -> Callable[[Event], str]:
    """Which window each event arrived in: windows cut each Kafka partition's offsets in order."""
    bounds = {
        partition: sorted(draw(st.lists(st.integers(0, len(events)), min_size=2, max_size=2)))
        for partition in sorted({event.kafka_partition for event in events})
    }
    return lambda event: WINDOWS[sum(event.kafka_offset >= bound for bound in bounds[event.kafka_partition])]
