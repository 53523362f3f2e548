"""The assets behind the raw chunks, materialized one by one: damage is made good, and loading never enriches."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from fakes import TOPIC, FakeKafka, flip, land_all, message, unfinished_windows
from planting import plant

from usage_analytics import parts
from usage_analytics.definitions import defs
from usage_analytics.enrichment import enriched_chunk
from usage_analytics.errors import UserError
from usage_analytics.ingestion.shares import parse_share
from usage_analytics.ingestion.verification import lost_beginnings, tiling_faults
from usage_analytics.orchestration import micro_batch_assets, resources
from usage_analytics.orchestration.run_now import QUIET
from usage_analytics.reconciliation.hop_counts import refuse_lost_records
from usage_analytics.settings import PREFIX, load_settings
from usage_analytics.trading_calendar import Window
from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
from usage_analytics_tests.integration.platform_under_test import clean_environment

EVENTS = "SELECT * FROM usage_events ORDER BY kafka_partition, kafka_offset"


@dataclass
class Landed:
    """Two chunks of 20 messages, one in a hundred broken, landed in a window; runs of single assets on it."""

    window: Window

    def __post_init__(self) -> None:
        self.settings = load_settings()
        self.kafka, self.layout = FakeKafka.of(2), parts.layout(self.settings)
        self.land()

    def land(self) -> None:
        for kafka_partition in (0, 1):
            values = [message(event_id=f"{kafka_partition}-{number}") for number in range(19)]
            self.kafka.produce(kafka_partition, *values, b"broken")
        land_all(self.kafka, self.layout, self.window)

    def materialize(self, *assets: str, share: str = "0/1") -> dg.ExecuteInProcessResult:
        config = {"resources": {"platform": {"config": {"share": share}}}}
        with dg.DagsterInstance.ephemeral() as instance:
            return defs.resolve_job_def("micro_batch").execute_in_process(
                instance=instance, partition_key=self.window.key, run_config=QUIET | config, raise_on_error=False,
                asset_selection=[dg.AssetKey(name) for name in assets],
            )  # fmt: skip

    def enriched(self) -> dict[str, Any]:
        """What materializing usage_events says it did."""
        (event,) = self.materialize("usage_events").asset_materializations_for_node("usage_events")
        return {name: value.value for name, value in event.metadata.items()}

    def refusal(self, asset: str, share: str = "0/1") -> str:
        """The sentence with which materializing an asset fails."""
        result = self.materialize(asset, share=share)
        assert not result.success
        failure = next(event for event in result.all_events if event.is_step_failure)
        return str(failure.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]

    def files(self) -> dict[Path, bytes]:
        folders = [self.layout.root / kind / TOPIC for kind in ("usage_events", "dead_letters")]
        return {path: path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.parquet"))}

    def loaded(self) -> Any:
        return parts.warehouse(self.settings).read(EVENTS)


@pytest.fixture
def home(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    clean_environment(monkeypatch, memory_path, TOPIC=TOPIC)
    return memory_path


@pytest.fixture
def older(home: Path) -> Landed:
    calendar = load_settings().calendar
    return Landed(calendar.windows_of(calendar.latest_closed_day(datetime.now(UTC)))[3])


@pytest.fixture
def open_now(home: Path) -> Landed:
    return Landed(load_settings().calendar.window_at(datetime.now(UTC)))


def test_an_older_window_is_read_whole_and_made_good(older: Landed) -> None:
    assert older.materialize("usage_events", "loaded_events").success
    clean, rows = older.files(), older.loaded()
    assert len(clean) == 4
    first, second, letters, more_letters = clean
    flip(first)
    second.unlink()
    flip(letters)
    more_letters.unlink()
    told = older.enriched()
    assert (told["chunks_read_again"], told["chunks_repaired"], told["dead_letters"]) == (2, 1, 2)
    assert older.files() == clean
    assert older.enriched()["chunks_read_again"] == 0
    assert older.materialize("loaded_events").success
    assert older.loaded().equals(rows)


def test_the_open_window_reads_only_what_is_new(open_now: Landed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_now.enriched()["chunks_read_again"] == 2
    clean = open_now.files()
    read: list[Path] = []
    monkeypatch.setattr(enriched_chunk, "verify_sealed", read.append)
    open_now.land()
    next(path for path in clean if "dead_letters" in path.parts).unlink()
    told = open_now.enriched()
    assert (told["chunks_read_again"], told["chunks_repaired"]) == (3, 1)
    assert read == []
    assert clean.items() <= open_now.files().items()


def test_loading_never_enriches(older: Landed, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = parts.offset_log(older.settings).of_window(older.window.key)
    remedy = f"materialize usage_events of window {older.window.key}"
    assert older.refusal("loaded_events") == f"chunk {first.name} is not enriched: {remedy} first"
    assert older.files() == {}
    assert older.loaded().is_empty()

    assert older.materialize("usage_events").success
    monkeypatch.setenv(PREFIX + "MAPPING", "wikipedia_app_events")
    assert older.refusal("loaded_events") == (
        f"chunk {first.name} was enriched under another mapping, key, calendar or version than now: {remedy} first"
    )
    monkeypatch.delenv(PREFIX + "MAPPING")
    path = older.layout.usage_events(older.window.key, first.name)
    flip(path)
    assert older.refusal("loaded_events") == (
        f"{path} is damaged (its bytes are not those that were written): {remedy} again"
    )
    assert older.loaded().is_empty()
    assert older.materialize("usage_events", "loaded_events").success  # what the sentence says, helps
    assert older.loaded().height == 38


def test_damage_between_enriching_and_loading_heals_in_the_open_window_too(open_now: Landed) -> None:
    assert open_now.materialize("usage_events").success
    clean = open_now.files()
    flip(next(iter(clean)))
    assert "is damaged" in open_now.refusal("loaded_events")
    assert open_now.materialize("usage_events", "loaded_events").success
    assert open_now.files() == clean
    assert open_now.loaded().height == 38


def test_the_share_of_dead_letters_is_read_not_made(older: Landed) -> None:
    result = older.materialize("usage_events")
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("few_dead_letters", False)
    told = {name: value.value for name, value in check.metadata.items()}
    assert told == {"dead_letters": 2, "share": 0.05, "reasons": {"not_json": 2}}


def test_a_damaged_warehouse_is_told_in_a_sentence_that_helps(older: Landed) -> None:
    assert older.materialize("usage_events", "loaded_events").success
    rows, path = older.loaded(), older.settings.warehouse
    path.write_bytes(path.read_bytes()[:20_000])
    assert older.refusal("loaded_events").startswith(f"warehouse {path} is damaged: move {path} away and materialize")
    path.unlink()
    assert older.materialize("loaded_events").success
    assert older.loaded().equals(rows)


def land_again_from(low: int, older: Landed) -> Window:
    """The lake is lost, and Kafka's retention has moved on; the window in which all the rest lands."""
    shutil.rmtree(older.settings.lake)
    for held in older.kafka.kafka_partitions.values():
        held.low = low
    older.window = older.settings.calendar.window_at(older.window.end)
    older.land()
    assert older.materialize("usage_events").success
    return older.window


def test_events_that_a_lost_lake_lands_again_are_not_loaded_twice(older: Landed) -> None:
    assert older.materialize("usage_events", "loaded_events").success
    first, log = older.window, parts.offset_log(older.settings)
    again = land_again_from(0, older)
    assert older.refusal("loaded_events") == (
        f"topic {TOPIC!r}, Kafka partition 0, offsets 0 to 40 of window {again.key}: the warehouse already holds "
        f"offsets 0 to 20 from window {first.key}, of which the lake has lost the records; restore the lake, or "
        f"materialize loaded_events of window {first.key} first, which takes out what the lake holds elsewhere"
    )
    assert unfinished_windows(log, TOPIC, parts.warehouse(older.settings)) == [again.key]
    for older.window in (first, again):
        assert older.materialize("loaded_events").success
    loaded = older.loaded()
    assert (loaded.height, loaded.select("kafka_partition", "kafka_offset").is_unique().all()) == (76, True)


def test_events_that_only_the_warehouse_holds_are_not_taken_out(older: Landed) -> None:
    assert older.materialize("usage_events", "loaded_events").success
    first, rows, path = older.window, older.loaded(), older.settings.warehouse
    again = land_again_from(10, older)
    assert "the warehouse already holds offsets 0 to 20" in older.refusal("loaded_events")
    older.window = first
    assert older.refusal("loaded_events") == (
        f"topic {TOPIC!r}, Kafka partition 0, offsets 0 to 20 of window {first.key} (and 1 chunks more): the warehouse "
        "holds them, but the lake has lost their records; restore these from a copy of the lake, or, without one, give "
        f"up what only the warehouse holds: move {path} away and materialize loaded_events of all windows, then the "
        "marts, model and plan of all trading days"
    )
    assert older.loaded().equals(rows)
    path.unlink()  # given up
    for older.window in (first, again):
        assert older.materialize("loaded_events").success
    assert older.loaded().height == 56


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_record_is_a_gap_even_at_the_beginning(lost: int, open_now: Landed) -> None:
    open_now.land()
    log = parts.offset_log(open_now.settings)
    assert open_now.materialize("usage_events", "loaded_events").success
    records = [record for record in log.all() if record.kafka_partition == 0]
    path = log._path(0, records[lost].start)
    path.unlink()
    with pytest.raises(UserError, match=f"offsets {records[lost].start} to {records[lost].end} of window"):
        refuse_lost_records(log, log.all(), TOPIC, parts.warehouse(open_now.settings))
    faults = tiling_faults(list(log.all())) + lost_beginnings(log.firsts())
    assert [(f.kafka_partition, f.start) for f in faults] == ([(0, 0)] if lost == 0 else [])


def test_rows_that_another_window_left_at_the_windows_offsets_fail_the_check(older: Landed) -> None:
    assert older.materialize("usage_events", "loaded_events").success
    copy = "SELECT * REPLACE ('2026-01-05T1000' AS load_window) FROM usage_events WHERE kafka_partition = 0"
    plant(older.settings.warehouse, f"INSERT INTO usage_events {copy}")
    (check,) = older.materialize("loaded_events").get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("counts_reconcile", False)
    told = {name: value.value for name, value in check.metadata.items()}
    stray = "the warehouse holds 19 rows, loaded from window 2026-01-05T1000, that no chunk explains"
    assert told == {"raw": 40, "dead_letters": 2, "loaded": 57, "differences": stray, "offsets": "none"}


def told(result: dg.ExecuteInProcessResult, asset: str, name: str) -> Any:
    (event,) = result.asset_materializations_for_node(asset)
    return event.metadata[name].value


def test_a_share_is_loaded_while_another_is_half_way(open_now: Landed) -> None:
    # Both have landed; the run of share 0 enriches and loads before that of share 1 has enriched anything.
    first = open_now.materialize("usage_events", "loaded_events", share="0/2")
    checks = {check.check_name: check.passed for check in first.get_asset_check_evaluations()}
    assert first.success and checks == {"few_dead_letters": False, "counts_reconcile": True}
    assert told(first, "loaded_events", "dagster/partition_row_count") == 19
    left = parts.offset_log(open_now.settings, parse_share("1/2")).of_window(open_now.window.key)
    remedy = f"materialize usage_events of window {open_now.window.key} first"
    assert open_now.refusal("loaded_events", share="1/2") == f"chunk {left[0].name} is not enriched: {remedy}"
    # Share 0 goes on, then share 1 catches up; neither takes away what the other has loaded.
    open_now.land()
    assert open_now.materialize("usage_events", "loaded_events", share="0/2").success
    second = open_now.materialize("usage_events", "loaded_events", share="1/2")
    assert second.success
    assert told(second, "usage_events", "dagster/partition_row_count") == 76
    assert told(second, "usage_events", "dead_letters") == 4
    assert told(second, "loaded_events", "dagster/partition_row_count") == 76
    rows = open_now.loaded()
    assert open_now.materialize("loaded_events").success  # all shares together: nothing is to be done
    assert open_now.loaded().equals(rows)


def test_what_another_run_loads_meanwhile_is_not_taken_out(open_now: Landed, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever the queue does: between this run's look at the records and its turn at the warehouse, another passes by.
    def another(*arguments: Any) -> None:
        monkeypatch.undo()
        refuse_lost_records(*arguments)
        monkeypatch.setenv(PREFIX + "HOME", str(open_now.settings.home))
        monkeypatch.setenv(PREFIX + "TOPIC", TOPIC)
        open_now.land()
        assert open_now.materialize("usage_events", "loaded_events").success

    assert open_now.materialize("usage_events").success
    monkeypatch.setattr(micro_batch_assets, "refuse_lost_records", another)
    result = open_now.materialize("loaded_events")
    assert result.success
    assert told(result, "loaded_events", "chunks_kept") == 4
    assert len(open_now.loaded()) == 76


@pytest.mark.parametrize(("share", "passed"), [("0/2", True), ("1/2", False), ("0/1", False)])
def test_rows_that_no_chunk_explains_are_found_by_the_share_they_are_of(
    share: str, passed: bool, older: Landed
) -> None:
    assert older.materialize("usage_events", "loaded_events").success
    copy = "SELECT * REPLACE ('2026-01-05T1000' AS load_window) FROM usage_events WHERE kafka_partition = 1"
    plant(older.settings.warehouse, f"INSERT INTO usage_events {copy}")
    (check,) = older.materialize("loaded_events", share=share).get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("counts_reconcile", passed)


def test_a_share_that_is_none_fails_the_run_with_a_sentence(open_now: Landed) -> None:
    for asset in ("raw_messages", "usage_events", "loaded_events"):
        assert open_now.refusal(asset, share="2/2").startswith("share '2/2' is none: it is written number/of")


HOLD = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"


@contextmanager
def in_use(warehouse: Path) -> Iterator[None]:
    """Another process has the warehouse's file."""
    command = [sys.executable, "-c", HOLD, str(warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == b"\n"
        yield
        other.stdin.close()


@pytest.mark.parametrize("after", ["usage_events", "load_window", "freshness"])
def test_all_steps_of_a_run_wait_for_the_warehouse_alike(
    after: str, older: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert older.materialize("usage_events").success
    monkeypatch.setattr(resources, "RUN_WAIT_S", 0.2)
    path = older.settings.warehouse
    with ExitStack() as others:
        if after == "usage_events":
            others.enter_context(in_use(path))
        else:
            place = micro_batch_assets if after == "freshness" else DuckDBWarehouse
            done = getattr(place, after)

            def then_in_use(*arguments: Any) -> Any:
                result = done(*arguments)
                others.enter_context(in_use(path))
                return result

            monkeypatch.setattr(place, after, then_in_use)
        assert older.refusal("loaded_events").startswith(f"warehouse {path} has been in use for 0.2 s: ")
