"""The warehouse: loads are idempotent by window, and the trading days they change are known."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from closing import ALL_MARTS, NO_PLAN, refresh, replace_plan, stale_days, stale_tables
from fakes import TOPIC, enriched_chunk
from planting import plant

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk, EnrichedDamaged
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import all_shares
from usage_analytics.warehouse import refreshing
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics.warehouse.freshness import freshness
from usage_analytics.warehouse.marts import MartRules
from usage_analytics.warehouse.transitions import recent_mini_apps

DAYS = [date(2026, 11, 20), date(2026, 11, 23)]
WINDOWS = ["2026-11-23T1000", "2026-11-23T1015", "2026-11-23T1030"]
LEDGER = """SELECT kafka_partition, start_offset, end_offset, row_count, dead_letters, fingerprint
            FROM load_ledger ORDER BY ALL"""
EVENTS = "SELECT * FROM usage_events ORDER BY topic, kafka_partition, kafka_offset"


def events(count: int, **common: Any) -> list[dict[str, Any]]:
    return [dict(common) for _ in range(count)]


def test_an_empty_warehouse_answers(warehouse: DuckDBWarehouse) -> None:
    assert stale_days(warehouse) == []
    assert warehouse.read("SELECT * FROM usage_events").is_empty()
    assert warehouse.load_window(TOPIC, WINDOWS[0], []).rows == 0


def test_duckdb_draws_nothing_into_the_output_of_a_run(warehouse: DuckDBWarehouse) -> None:
    assert warehouse.read("SELECT current_setting('enable_progress_bar') AS drawn").item() is False


def test_what_needs_more_memory_names_the_setting(memory_path: Path) -> None:
    warehouse = DuckDBWarehouse(memory_path / "warehouse.duckdb", memory_mb=24)
    chunk = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(150, properties="x" * 200_000))
    assert warehouse.load_window(TOPIC, WINDOWS[0], [chunk]).rows == 150  # what is fresh is not unpacked
    with pytest.raises(UserError) as told:
        warehouse.close_day(DAYS[1])
    assert str(told.value) == (
        f"warehouse {warehouse.path} needs more memory than the 24 MB it may take: "
        "set USAGE_ANALYTICS_WAREHOUSE_MEMORY to more megabytes"
    )
    DuckDBWarehouse(warehouse.path).close_day(DAYS[1])
    assert offsets(DuckDBWarehouse(warehouse.path)) == list(range(150))


def test_loading_again_changes_nothing(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    chunks = [
        enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(5), dead_letters=2),
        enriched_chunk(memory_path, WINDOWS[0], 1, 40, events(3)),
        enriched_chunk(memory_path, WINDOWS[0], 1, 43, [], dead_letters=1),
    ]
    first = warehouse.load_window(TOPIC, WINDOWS[0], chunks)
    assert (first.rows, first.chunks_loaded, first.chunks_kept, first.trading_days) == (8, 3, 0, (DAYS[1],))
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    version = warehouse.read("SELECT * FROM trading_day_versions")
    again = warehouse.load_window(TOPIC, WINDOWS[0], chunks)
    assert (again.rows, again.chunks_loaded, again.chunks_kept, again.trading_days) == (8, 0, 3, ())
    assert warehouse.read(EVENTS).equals(rows)
    assert warehouse.read(LEDGER).equals(ledger)
    assert warehouse.read("SELECT * FROM trading_day_versions").equals(version)
    assert ledger.rows() == [(0, 0, 7, 5, 2, "f1"), (1, 40, 43, 3, 0, "f1"), (1, 43, 44, 0, 1, "f1")]


def test_only_chunks_whose_fingerprint_changed_are_replaced(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    kept = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2, mini_app="kept"))
    old = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(3, mini_app="old", trading_day=DAYS[0]))
    warehouse.load_window(TOPIC, WINDOWS[0], [kept, old])
    new = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(2, mini_app="new"), "f2", dead_letters=1)
    receipt = warehouse.load_window(TOPIC, WINDOWS[0], [kept, new])
    assert (receipt.rows, receipt.chunks_loaded, receipt.chunks_kept) == (4, 1, 1)
    assert receipt.trading_days == (DAYS[0], DAYS[1])  # the day that lost its rows has changed too
    assert warehouse.read(EVENTS).get_column("mini_app").to_list() == ["kept", "kept", "new", "new"]
    assert warehouse.read(LEDGER).rows() == [(0, 0, 2, 2, 0, "f1"), (0, 2, 5, 2, 1, "f2")]


def test_a_chunk_judged_anew_is_replaced_even_where_it_has_as_many_rows(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    loaded_at = []
    for fingerprint in ("f1", "f2"):
        chunk = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(3, mini_app=f"as {fingerprint}"), fingerprint)
        assert warehouse.load_window(TOPIC, WINDOWS[0], [chunk]).chunks_loaded == 1
        loaded_at.append(warehouse.read("SELECT loaded_us FROM load_ledger").item())
    assert warehouse.read(EVENTS).get_column("mini_app").to_list() == ["as f2"] * 3
    assert warehouse.read(LEDGER).rows() == [(0, 0, 3, 3, 0, "f2")]
    assert loaded_at[0] == loaded_at[1]  # since when its messages can be queried


def test_a_load_counts_from_its_end_not_from_its_beginning(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    looked_at = []

    def chunks() -> Iterator[EnrichedChunk]:
        yield enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(3))
        looked_at.append(int(datetime.now(UTC).timestamp() * 1e6))

    warehouse.load_window(TOPIC, WINDOWS[0], chunks())
    assert warehouse.read("SELECT loaded_us FROM load_ledger").item() > looked_at[0]


def test_a_window_is_loaded_again_between_those_that_meet_it(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    for number, window in enumerate(WINDOWS):
        chunk = enriched_chunk(memory_path, window, 0, 5 * number, events(5))
        warehouse.load_window(TOPIC, window, [chunk])
    again = enriched_chunk(memory_path, WINDOWS[1], 0, 5, events(5, mini_app="again"), "f2")
    assert warehouse.load_window(TOPIC, WINDOWS[1], [again]).chunks_loaded == 1
    assert offsets(warehouse) == list(range(15))


def test_windows_and_topics_do_not_touch_each_other(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2))])
    warehouse.load_window(TOPIC, WINDOWS[1], [enriched_chunk(memory_path, WINDOWS[1], 0, 2, events(3))])
    assert warehouse.load_window("others", WINDOWS[0], []).rows == 0
    assert warehouse.load_window(TOPIC, WINDOWS[0], []).rows == 0  # a window without chunks holds no rows
    assert warehouse.read(EVENTS).get_column("kafka_offset").to_list() == [2, 3, 4]
    assert warehouse.read(LEDGER).rows() == [(0, 2, 5, 3, 0, "f1")]


def offsets(warehouse: DuckDBWarehouse) -> list[int]:
    return warehouse.read(EVENTS).get_column("kafka_offset").to_list()


def test_shares_of_a_window_do_not_touch_each_other(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    even, odd = all_shares(2)
    mine, theirs, later = (
        enriched_chunk(memory_path, WINDOWS[0], number, 0, events(rows)) for number, rows in ((0, 2), (1, 3), (2, 1))
    )
    assert warehouse.load_window(TOPIC, WINDOWS[0], [theirs], odd).rows == 3
    receipt = warehouse.load_window(TOPIC, WINDOWS[0], [mine], even)
    assert (receipt.rows, receipt.chunks_loaded, receipt.chunks_kept) == (5, 1, 0)
    ledger = warehouse.read(LEDGER).rows()
    # What was changed by other means is another share's to find, and to make good.
    plant(warehouse.path, "DELETE FROM usage_events WHERE kafka_partition = 1 AND kafka_offset = 0")
    assert warehouse.load_window(TOPIC, WINDOWS[0], [mine, later], even).rows == 5
    assert warehouse.read(LEDGER).rows() == [*ledger, (2, 0, 1, 1, 0, "f1")]
    assert warehouse.load_window(TOPIC, WINDOWS[0], [theirs], odd).chunks_loaded == 1
    assert warehouse.load_window(TOPIC, WINDOWS[0], [], even).rows == 3  # a share without chunks holds no rows
    with pytest.raises(ValueError, match="chunks of other shares than 0/2"):
        warehouse.load_window(TOPIC, WINDOWS[0], [mine, theirs], even)
    assert warehouse.load_window(TOPIC, WINDOWS[0], [mine, theirs, later]).rows == 6


def test_offsets_that_another_window_loaded_are_refused_and_the_remedy_helps(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    kept, lost = (enriched_chunk(memory_path, WINDOWS[0], 0, start, events(5)) for start in (0, 5))
    other = enriched_chunk(memory_path, WINDOWS[0], 1, 0, events(2))
    warehouse.load_window(TOPIC, WINDOWS[0], [kept, lost, other])
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    remedy = (
        f"from window {WINDOWS[0]}, of which the lake has lost the records; restore the lake, or materialize "
        f"loaded_events of window {WINDOWS[0]} first, which takes out what the lake holds elsewhere"
    )
    # Where the lost record began, where Kafka's retention is now, within, and by its last offset alone.
    for start, end in ((5, 12), (8, 12), (6, 9), (9, 12)):
        again = enriched_chunk(memory_path, WINDOWS[1], 0, start, events(end - start))
        with pytest.raises(UserError) as raised:
            warehouse.load_window(TOPIC, WINDOWS[1], [again])
        place = f"topic {TOPIC!r}, Kafka partition 0, offsets {start} to {end} of window {WINDOWS[1]}"
        assert str(raised.value) == f"{place}: the warehouse already holds offsets 5 to 10 {remedy}"
        assert warehouse.read(EVENTS).equals(rows)
        assert warehouse.read(LEDGER).equals(ledger)
    again = enriched_chunk(memory_path, WINDOWS[1], 0, 5, events(7))
    assert warehouse.load_window(TOPIC, WINDOWS[0], [kept, other]).rows == 7
    assert warehouse.load_window(TOPIC, WINDOWS[1], [again]).rows == 7
    assert offsets(warehouse) == [*range(12), 0, 1]


def test_chunks_of_a_window_that_were_cut_anew_replace_those_before(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 3, events(7))])
    begun_earlier = [enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(5))]
    begun_earlier.append(enriched_chunk(memory_path, WINDOWS[0], 0, 5, events(9)))
    warehouse.load_window(TOPIC, WINDOWS[0], begun_earlier)
    assert offsets(warehouse) == list(range(14))
    for start in (8, 14, 20):  # in the midst of what is loaded, right after it, and with a gap
        begun_later = enriched_chunk(memory_path, WINDOWS[0], 0, start, events(7))
        with pytest.raises(UserError) as raised:
            warehouse.load_window(TOPIC, WINDOWS[0], [begun_later])
        assert str(raised.value).startswith(
            f"topic {TOPIC!r}, Kafka partition 0, offsets {start} to {start + 7} of window {WINDOWS[0]}: the warehouse "
            f"already holds offsets 0 to 14 from it, and would lose those before {start}, of which the lake has lost "
            f"the records; restore the lake, or move {warehouse.path} away and materialize loaded_events of all windows"
        )
        assert offsets(warehouse) == list(range(14))


def test_rows_that_were_lost_or_doubled_by_other_means_are_loaded_anew(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    chunks = [enriched_chunk(memory_path, WINDOWS[0], 0, start, events(5)) for start in (0, 5)]
    warehouse.load_window(TOPIC, WINDOWS[0], chunks)
    for statement in (
        "DELETE FROM usage_events WHERE kafka_offset IN (1, 2)",
        "INSERT INTO usage_events FROM usage_events WHERE kafka_offset IN (3, 4)",
        "DELETE FROM usage_events WHERE kafka_offset = 7; "
        "INSERT INTO usage_events FROM usage_events WHERE kafka_offset = 8",
    ):
        plant(warehouse.path, statement)
        again = warehouse.load_window(TOPIC, WINDOWS[0], chunks)
        assert (again.chunks_loaded, again.chunks_kept) == (1, 1)
        assert offsets(warehouse) == list(range(10))


def test_a_load_that_fails_changes_nothing(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    good = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2))
    warehouse.load_window(TOPIC, WINDOWS[0], [good])
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    replaced = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(2, mini_app="new"), "f2")
    missing = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(2))
    missing.path.unlink()
    with pytest.raises(EnrichedDamaged, match=r"is damaged \(it is gone\): materialize usage_events of window"):
        warehouse.load_window(TOPIC, WINDOWS[0], [replaced, missing])
    short = enriched_chunk(memory_path, WINDOWS[0], 0, 2, events(2))
    lying = EnrichedChunk(short.record, short.path, 3, 0, {}, "f1")
    with pytest.raises(UserError) as told:
        warehouse.load_window(TOPIC, WINDOWS[0], [replaced, lying])
    remedy = f"materialize loaded_events of window {WINDOWS[0]} again"
    assert str(told.value) == f"{short.path} is another file than when it was looked at: {remedy}"
    assert warehouse.read(EVENTS).equals(rows)
    assert warehouse.read(LEDGER).equals(ledger)


def test_a_damaged_file_is_never_loaded(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    loaded, damaged = (enriched_chunk(memory_path, WINDOWS[0], 0, start, events(4)) for start in (0, 4))
    warehouse.load_window(TOPIC, WINDOWS[0], [loaded])
    rows, ledger = warehouse.read(EVENTS), warehouse.read(LEDGER)
    for chunk in (loaded, damaged):
        content = chunk.path.read_bytes()
        chunk.path.write_bytes(content.replace(b"midday", b"midnig"))
        assert chunk.path.read_bytes() != content
        assert pl.read_parquet(chunk.path).height == 4  # nothing else would notice
    with pytest.raises(EnrichedDamaged) as raised:
        warehouse.load_window(TOPIC, WINDOWS[0], [loaded, damaged])
    why = "its bytes are not those that were written"
    sentence = f"{damaged.path} is damaged ({why}): materialize usage_events of window {WINDOWS[0]} again"
    assert str(raised.value) == sentence
    assert warehouse.read(EVENTS).equals(rows)
    assert warehouse.read(LEDGER).equals(ledger)
    assert warehouse.load_window(TOPIC, WINDOWS[0], [loaded]).chunks_kept == 1  # what is loaded is not read again


def test_stale_days_are_those_whose_events_changed_after_their_marts(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    both = [*events(2, trading_day=DAYS[1]), *events(1, trading_day=DAYS[0])]
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, both)])
    assert stale_days(warehouse) == DAYS
    assert {receipt.version for receipt in refresh(warehouse, DAYS[1]).values()} == {1}
    assert stale_days(warehouse) == DAYS  # without a plan: the run may have died before it
    replace_plan(warehouse, DAYS[1], NO_PLAN)
    assert stale_days(warehouse) == [DAYS[0]]
    refresh(warehouse, DAYS[0], ALL_MARTS[0])
    assert stale_tables(warehouse) == {DAYS[0]: list(ALL_MARTS[1:])}  # no plan: there is one of a later day
    refresh(warehouse, DAYS[0], *ALL_MARTS[1:])
    assert stale_tables(warehouse) == {}
    late = enriched_chunk(memory_path, WINDOWS[1], 0, 3, events(1, trading_day=DAYS[0]))
    warehouse.load_window(TOPIC, WINDOWS[1], [late])
    assert stale_tables(warehouse) == {DAYS[0]: list(ALL_MARTS)}
    assert refresh(warehouse, DAYS[0], ALL_MARTS[0])[ALL_MARTS[0]].version == 2


def close(warehouse: DuckDBWarehouse, day: date) -> None:
    refresh(warehouse, day)
    replace_plan(warehouse, day)


def test_days_whose_marts_were_made_by_another_rule_are_stale(
    warehouse: DuckDBWarehouse, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [*events(2, trading_day=DAYS[1]), *events(1, trading_day=DAYS[0])]
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, both)])
    for day in DAYS:
        close(warehouse, day)
    assert stale_days(warehouse) == []
    monkeypatch.setattr("usage_analytics.warehouse.refreshing.FOLD_OF_USER", "3")  # the next version's rule
    whole = [*ALL_MARTS, "preload_plan"]
    assert stale_tables(warehouse) == {DAYS[0]: ["app_transitions"], DAYS[1]: whole}
    refresh(warehouse, DAYS[0], "app_transitions")
    refresh(warehouse, DAYS[1], "app_transitions")
    assert stale_tables(warehouse) == {DAYS[1]: whole}  # its plan was made of the counts before
    replace_plan(warehouse, DAYS[1], NO_PLAN)
    assert stale_tables(warehouse) == {}


def test_a_day_that_is_not_over_leaves_the_one_before_it_the_newest(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    both = [*events(2, trading_day=DAYS[1]), *events(1, trading_day=DAYS[0])]
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, both)])
    with warehouse.session() as session:
        assert refreshing.stale_tables(session, MartRules(), DAYS[0]) == {DAYS[0]: [*ALL_MARTS, "preload_plan"]}


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 3]


def other_bytes_at_the_front(content: bytes) -> bytes:
    return content[:100] + b"?" * 1_000 + content[1_100:]


def other_bytes_in_every_block(content: bytes) -> bytes:
    return content[:12_300] + b"?" * (len(content) - 12_300)


DAMAGE = [lambda _: b"this is not a database" * 1_000, lambda _: b"", cut_short, other_bytes_at_the_front,
          other_bytes_in_every_block]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_made_again_as_the_sentence_says(
    damage: Callable[[bytes], bytes], warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    chunk = enriched_chunk(memory_path, WINDOWS[0], 0, 0, events(3))
    warehouse.load_window(TOPIC, WINDOWS[0], [chunk])
    rows = warehouse.read(EVENTS)
    warehouse.path.write_bytes(damage(warehouse.path.read_bytes()))
    remedy = "loaded_events of all windows, then the marts, model and plan of all trading days"
    sentence = f"warehouse {warehouse.path} is damaged: move {warehouse.path} away and materialize {remedy}"
    uses: list[Callable[[], object]] = [
        lambda: warehouse.read(EVENTS), lambda: refresh(warehouse, DAYS[1], ALL_MARTS[0]), lambda: stale_days(warehouse)
    ]  # fmt: skip
    with pytest.raises(UserError) as raised:
        for use in uses:  # of a file that can be opened, only what is read shows the damage
            use()
    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value)
    warehouse.path.rename(memory_path / "away")
    warehouse.load_window(TOPIC, WINDOWS[0], [chunk])
    assert warehouse.read(EVENTS).equals(rows)


def test_a_warehouse_that_cannot_be_used_is_not_called_damaged(memory_path: Path) -> None:
    path = memory_path / "warehouse.duckdb"
    path.mkdir()
    with pytest.raises(UserError, match=rf"warehouse {path} cannot be used: IO Error"):
        stale_days(DuckDBWarehouse(path))


HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"


def test_a_file_in_use_is_waited_for(warehouse: DuckDBWarehouse) -> None:
    command = [sys.executable, "-c", HOLD, str(warehouse.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match=rf"warehouse {warehouse.path} has been in use for 0\.1 s: .*{other.pid}"):
            stale_days(replace(warehouse, wait_s=0.1))
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(stale_days, replace(warehouse, wait_s=30))
            other.stdin.close()
            assert waiting.result() == []


def test_recent_mini_apps_are_of_the_last_user_session_each_event_once(
    warehouse: DuckDBWarehouse, memory_path: Path
) -> None:
    minute = 60_000_000

    def at(minutes: int, mini_app: str, day: int = 1, user: str = "u" * 32) -> dict[str, Any]:
        at_us = 1_795_446_000_000_000 + minutes * minute
        place = {"trading_day": DAYS[day], "user_id": user, "event_id": f"{user}-{day}-{minutes}"}
        return {**place, "event_time_us": at_us, "mini_app": mini_app}

    rows = [
        at(0, "mail", day=0), at(100, "news"), at(150, "quotes"), at(151, "chat"), at(152, "charts"),
        at(152, "charts"), at(200, "alerts", user="v" * 32),
    ]  # fmt: skip
    warehouse.load_window(TOPIC, WINDOWS[0], [enriched_chunk(memory_path, WINDOWS[0], 0, 0, rows)])
    assert recent_mini_apps(warehouse, "u" * 32, 3) == ["quotes", "chat", "charts"]
    assert recent_mini_apps(warehouse, "u" * 32, 2) == ["chat", "charts"]
    assert recent_mini_apps(warehouse, "v" * 32, 3) == ["alerts"]
    assert recent_mini_apps(warehouse, "w" * 32, 3) == []


def test_freshness_counts_from_arrival_to_the_first_load(warehouse: DuckDBWarehouse, memory_path: Path) -> None:
    assert freshness(warehouse, TOPIC, WINDOWS[0]) is None
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    waited = [{"kafka_timestamp_us": now_us - seconds * 10**6} for seconds in range(100, 201)]
    chunk = enriched_chunk(memory_path, WINDOWS[0], 0, 0, [*waited, {"kafka_timestamp_us": None}])
    warehouse.load_window(TOPIC, WINDOWS[0], [chunk])
    first = freshness(warehouse, TOPIC, WINDOWS[0])
    assert first is not None
    assert first.p95_s - first.median_s == pytest.approx(45)
    assert 150 <= first.median_s < 210

    judged_again = enriched_chunk(memory_path, WINDOWS[0], 0, 0, waited, fingerprint="f2", dead_letters=1)
    time.sleep(0.05)
    assert warehouse.load_window(TOPIC, WINDOWS[0], [judged_again]).chunks_loaded == 1
    assert freshness(warehouse, TOPIC, WINDOWS[0]) == first
