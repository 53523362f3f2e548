"""What the sensor and the schedules ask for, with a real Dagster instance and the embedded broker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from closing import refresh, replace_plan, stale_days
from dagster._core.test_utils import create_run_for_test
from fakes import FakeKafka

from usage_analytics import parts
from usage_analytics.definitions import defs
from usage_analytics.ingestion.shares import parse_share
from usage_analytics.micro_batch import land_window
from usage_analytics.orchestration import schedules, sensors
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.resources import Platform
from usage_analytics.settings import PREFIX, load_settings
from usage_analytics_tests.integration.platform_under_test import (
    Produced,
    clean_environment,
    embedded_platform,
    freeze,
    micro_batch,
)

THRESHOLD = 1_000
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def produced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Produced]:
    with embedded_platform(monkeypatch, tmp_path, MICRO_BATCH_THRESHOLD=THRESHOLD) as started:
        freeze(monkeypatch, at(started.day, 10, 7), sensors, schedules)
        yield started


def at(day: date, hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=NEW_YORK)


def tick(home: Path, cursor: str | None = None) -> Any:
    """What the daemon would get: run requests whose partitions Dagster has checked, or a skip message."""
    with open_instance(home) as instance:
        built = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            repository_def=defs.get_repository_def(),
            resources={"platform": Platform()},
        )
        with built as context:
            return sensors.waiting_messages.evaluate_tick(context)


def land_some(produced: Produced, now: datetime) -> None:
    """Land messages of all Kafka partitions, so that none is overdue."""
    produced.send(40)
    land_window(produced.settings, produced.settings.calendar.window_at(now), now)


def commit_at(produced: Produced, then: datetime) -> None:
    """Let all that is committed be of a time: the file system's clock, which tells it, is the machine's own."""
    for record in parts.layout(produced.settings).offsets.rglob("*.json"):
        os.utime(record, (then.timestamp(), then.timestamp()))


def test_waits_for_enough_messages(produced: Produced, tmp_path: Path) -> None:
    land_some(produced, at(produced.day, 10, 7))
    produced.send(THRESHOLD - 1)
    skipped = tick(tmp_path)
    assert skipped.run_requests == []
    assert skipped.skip_message == "999 of 1,000 messages wait"
    produced.send(1)
    asked = tick(tmp_path)
    assert [request.partition_key for request in asked.run_requests] == [f"{produced.day}T1000"]


def test_few_messages_start_a_run_when_none_was_landed_for_long(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "LONGEST_WAIT_S", "60")
    now = at(produced.day, 10, 7)
    produced.send(3)
    assert len(tick(tmp_path).run_requests) == 1, "none ever was"
    land_some(produced, now)
    produced.send(3)
    commit_at(produced, now - timedelta(seconds=59))
    assert tick(tmp_path).skip_message == "3 of 1,000 messages wait"
    commit_at(produced, now - timedelta(seconds=60))
    assert len(tick(tmp_path).run_requests) == 1


def test_empty_topic_waits(produced: Produced, tmp_path: Path) -> None:
    produced.send(0)
    assert tick(tmp_path).skip_message == "0 of 1,000 messages wait"


def test_only_what_is_not_in_the_lake_waits(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    produced.send(THRESHOLD)
    settings, now = produced.settings, at(produced.day, 10, 7)
    first = tick(tmp_path).run_requests[0]
    window = settings.calendar.window_at(now)
    land_window(settings, window, now)
    assert tick(tmp_path, cursor="1000 messages waited").skip_message == "0 of 1,000 messages wait"
    produced.send(THRESHOLD)
    assert tick(tmp_path).run_requests[0].run_key != first.run_key


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
def test_one_micro_batch_at_a_time(produced: Produced, tmp_path: Path, status: dg.DagsterRunStatus) -> None:
    produced.send(THRESHOLD)
    with open_instance(tmp_path) as instance:
        run = create_run_for_test(instance, job_name="micro_batch", status=status)
        skipped = tick(tmp_path)
        assert skipped.run_requests == []
        assert skipped.skip_message == "1,000 messages wait; a micro-batch is running"
        instance.delete_run(run.run_id)
        # Runs that are over, and those of other jobs, are not waited for.
        create_run_for_test(instance, job_name="micro_batch", status=dg.DagsterRunStatus.FAILURE)
        create_run_for_test(instance, job_name="trading_day_close", status=status)
    assert len(tick(tmp_path).run_requests) == 1


def test_each_share_is_asked_for_by_its_own_messages(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "SHARES", "2")
    land_some(produced, at(produced.day, 10, 7))
    produced.send(1_800)
    waiting = waiting_by_share(produced, 2)
    assert waiting[0] >= THRESHOLD > waiting[1] > 0
    [request] = tick(tmp_path).run_requests
    config = {"resources": {"platform": {"config": {"share": "0/2"}}}}
    assert (request.partition_key, request.run_config) == (f"{produced.day}T1000", config)
    assert request.tags["usage_analytics/share"] == "0/2"
    monkeypatch.setenv(PREFIX + "MICRO_BATCH_THRESHOLD", str(THRESHOLD + 1_000))
    told = "; ".join(f"share {n}/2: {count:,} of 2,000 messages wait" for n, count in enumerate(waiting))
    assert tick(tmp_path).skip_message == told

    produced.send(2_500)
    monkeypatch.setenv(PREFIX + "MICRO_BATCH_THRESHOLD", str(THRESHOLD))
    requests = tick(tmp_path).run_requests
    assert [r.tags["usage_analytics/share"] for r in requests] == ["0/2", "1/2"]
    assert len({r.run_key for r in (request, *requests)}) == 3


def waiting_by_share(produced: Produced, count: int) -> list[int]:
    with parts.kafka_source(produced.settings) as source:
        ends = {number: marks.high for number, marks in source.watermarks().items()}
    committed = parts.offset_log(produced.settings).committed()
    waiting = {number: end - committed.get(number, 0) for number, end in ends.items()}
    return [sum(few for number, few in waiting.items() if number % count == share) for share in range(count)]


def test_a_share_with_an_active_run_does_not_hold_up_others(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "SHARES", "2")
    monkeypatch.setenv(PREFIX + "MICRO_BATCH_THRESHOLD", "100")
    produced.send(600)
    asked: dict[str, list[str]] = {"0/2": ["1/2"], "1/4": ["0/2"], "0/3": [], "": [], "by hand": []}
    with open_instance(tmp_path) as instance:
        for active, expected in asked.items():
            tags = {"usage_analytics/share": active} if active else {}
            status = dg.DagsterRunStatus.STARTED
            run = create_run_for_test(instance, job_name="micro_batch", status=status, tags=tags)
            data = tick(tmp_path)
            assert [request.tags["usage_analytics/share"] for request in data.run_requests] == expected
            instance.delete_run(run.run_id)
    even, odd = waiting_by_share(produced, 2)
    busy = "messages wait; a micro-batch is running"
    assert data.skip_message == f"share 0/2: {even} {busy}; share 1/2: {odd} {busy}"


def test_a_share_that_died_after_landing_is_asked_for_alone(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "SHARES", "2")
    produced.send(900)
    settings, now = produced.settings, at(produced.day, 10, 7)
    window = settings.calendar.window_at(now)
    land_window(settings, window, now, parse_share("1/2"))
    freeze(monkeypatch, at(produced.day, 10, 40), sensors, schedules)
    asked = [(r.partition_key, r.tags["usage_analytics/share"]) for r in tick(tmp_path).run_requests]
    assert [share for key, share in asked if key == window.key] == ["1/2"]


def test_a_loss_in_one_kafka_partition_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path, MICRO_BATCH_THRESHOLD=3)
    settings, kafka = load_settings(), FakeKafka.of(2)
    monkeypatch.setattr(parts, "kafka_source", lambda settings: nullcontext(kafka))
    day = settings.calendar.latest_closed_day(datetime.now(UTC))
    freeze(monkeypatch, at(day, 10, 7), sensors)
    window = settings.calendar.window_at(at(day, 10, 7))
    kafka.produce(0, b"{}")
    kafka.produce(1, b"{}")
    land_window(settings, window, window.start)
    kafka.produce(0, *[b"{}"] * 5)
    kafka.kafka_partitions[0].low = 4
    kafka.produce(1, *[b"{}"] * 3)
    [first] = tick(tmp_path).run_requests
    assert first.partition_key == window.key
    land_window(settings, window, window.start)
    kafka.produce(1, b"{}")  # too few for a run, and the others cannot land: no run is asked for
    with pytest.raises(RuntimeError, match=r"Kafka partition 0: Kafka deleted offsets 1 to 4 before they were landed"):
        tick(tmp_path)
    kafka.produce(1, *[b"{}"] * 2)
    [again] = tick(tmp_path).run_requests
    assert again.run_key != first.run_key
    # Once their window has ended, what has landed but is not loaded is asked for all the same.
    freeze(monkeypatch, at(day, 10, 40), sensors)
    monkeypatch.setenv(PREFIX + "MICRO_BATCH_THRESHOLD", "1000")
    [unfinished] = tick(tmp_path).run_requests
    assert unfinished.partition_key == window.key


def test_a_warehouse_in_use_holds_up_no_micro_batch(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "WAREHOUSE_WAIT_S", 0.1)
    produced.send(THRESHOLD)
    settings, now = produced.settings, at(produced.day, 10, 7)
    land_window(settings, settings.calendar.window_at(now), now)
    produced.send(THRESHOLD)
    stale_days(parts.warehouse(settings))  # makes the file
    held = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", held, str(settings.warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        asked = tick(tmp_path).run_requests
        other.kill()
    assert len(asked) == 1


def test_cursor_and_dagster_database_do_not_matter(produced: Produced, tmp_path: Path) -> None:
    produced.send(THRESHOLD)
    asked = [tick(tmp_path), tick(tmp_path, cursor="nonsense"), tick(tmp_path, cursor=tick(tmp_path).cursor)]
    shutil.rmtree(tmp_path / "dagster")
    asked.append(tick(tmp_path))
    # The same key while nothing has changed: a tick that crashed half-way does not start two runs.
    assert len({(r.partition_key, r.run_key) for data in asked for r in data.run_requests}) == 1
    assert [len(data.run_requests) for data in asked] == [1, 1, 1, 1]


def test_run_that_failed_is_asked_for_again(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster remembers run keys for ever: the same one again would be dropped without a word.
    produced.send(THRESHOLD)
    first = tick(tmp_path).run_requests[0]
    freeze(monkeypatch, at(produced.day, 10, 7) + timedelta(minutes=sensors.RETRY_MINUTES), sensors, schedules)
    again = tick(tmp_path).run_requests[0]
    assert (again.partition_key, again.run_key != first.run_key) == (first.partition_key, True)


def test_window_that_ended_unloaded_is_asked_for(
    produced: Produced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run landed messages and was killed; then its window ended and the Dagster database, which would have retried
    # the run, was lost. The messages are in raw, but would never reach the warehouse.
    produced.send(THRESHOLD)
    settings, now = produced.settings, at(produced.day, 10, 7)
    window = settings.calendar.window_at(now)
    land_window(settings, window, now)
    freeze(monkeypatch, at(produced.day, 10, 40), sensors, schedules)
    [request] = tick(tmp_path).run_requests
    assert request.partition_key == window.key
    # Loading alone would refuse what was never enriched; the whole job heals, and is not asked for again.
    assert micro_batch(settings, window.key).success
    produced.assert_came_through_once()
    assert tick(tmp_path).run_requests == []


def test_no_broker_is_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    skipped = tick(tmp_path)
    assert skipped.run_requests == []
    assert "no Kafka: set KAFKA_BOOTSTRAP_SERVERS, or start the embedded broker" in skipped.skip_message


def test_no_topic_is_a_reason_to_skip(produced: Produced, tmp_path: Path) -> None:
    assert tick(tmp_path).skip_message.startswith("topic 'usage-messages' is not on Kafka at 127.0.0.1:")


def test_unreachable_cluster_is_an_error_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path, KAFKA_TIMEOUT_S=1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(RuntimeError, match=r"Kafka at 127\.0\.0\.1:1 did not answer within 1 s"):
        tick(tmp_path)


def scheduled(schedule: dg.ScheduleDefinition, home: Path, when: datetime) -> Any:
    with open_instance(home) as instance:
        built = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=when, repository_def=defs.get_repository_def(),
            resources={"platform": Platform()},
        )  # fmt: skip
        with built as context:
            return schedule.evaluate_tick(context)


@pytest.mark.parametrize(
    ("due", "evaluated", "window"),
    [
        ((10, 15, 0), (10, 15, 2), "T1015"),
        ((10, 15, 0), (10, 14, 59), "T1015"),  # this machine's clock is behind the daemon's
        ((17, 0, 0), (17, 0, 1), "T1645"),  # the day's last window is open until the next day's first
    ],
)
def test_flush_goes_to_the_open_window(
    due: tuple[int, int, int],
    evaluated: tuple[int, int, int],
    window: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clean_environment(monkeypatch, tmp_path)
    day = load_settings().calendar.latest_closed_day(datetime.now(UTC))
    freeze(monkeypatch, at(day, *evaluated), sensors, schedules)
    data = scheduled(schedules.flush_window, tmp_path, at(day, *due))
    assert [request.partition_key for request in data.run_requests] == [f"{day}{window}"]


def test_flush_asks_for_every_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path, SHARES=3)
    day = load_settings().calendar.latest_closed_day(datetime.now(UTC))
    freeze(monkeypatch, at(day, 10, 15, 1), sensors, schedules)
    requests = scheduled(schedules.flush_window, tmp_path, at(day, 10, 15)).run_requests
    later = scheduled(schedules.flush_window, tmp_path, at(day, 10, 15) - timedelta(days=7)).run_requests
    assert [request.partition_key for request in requests] == [f"{day}T1015"] * 3
    assert [request.tags["usage_analytics/share"] for request in requests] == ["0/3", "1/3", "2/3"]
    assert later == [] and len({request.run_key for request in requests}) == 3


def test_late_flush_leaves_the_open_window_to_its_own_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    day = load_settings().calendar.latest_closed_day(datetime.now(UTC))
    freeze(monkeypatch, at(day, 10, 31), sensors, schedules)
    data = scheduled(schedules.flush_window, tmp_path, at(day, 10, 15))
    assert data.run_requests == []
    assert data.skip_message == f"window {day}T1015 has ended; the tick of the open one flushes"


def test_flush_is_due_at_each_window_and_at_the_close() -> None:
    assert list(schedules.flush_window.cron_schedule) == ["*/15 8-16 * * 1,2,3,4,5", "0 17 * * 1,2,3,4,5"]
    assert schedules.close_trading_day.cron_schedule == "5 17 * * 1,2,3,4,5"
    assert schedules.flush_window.execution_timezone == schedules.close_trading_day.execution_timezone == str(NEW_YORK)


@pytest.mark.parametrize(
    ("due", "closed"),
    [
        (datetime(2026, 3, 7, 0, 5, tzinfo=NEW_YORK), ["2026-03-05", "2026-03-06"]),  # Saturday: Friday is over
        (datetime(2026, 3, 6, 0, 5, tzinfo=NEW_YORK), ["2026-03-05"]),  # Friday has begun
    ],
)
def test_close_at_midnight_is_that_of_the_day_before(
    due: datetime, closed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_environment(monkeypatch, tmp_path, OPENING_HOUR=0, CLOSING_HOUR=24)
    settings = load_settings()
    scheduled(schedules.close_trading_day, tmp_path, due)
    with duckdb.connect(settings.warehouse) as warehouse:
        days = [["2026-03-05", 1], ["2026-03-06", 1], ["2026-03-09", 1]]
        warehouse.executemany("INSERT INTO trading_day_versions VALUES (?, ?)", days)
    data = scheduled(schedules.close_trading_day, tmp_path, due)
    assert [request.partition_key for request in data.run_requests] == closed


def test_close_asks_for_each_stale_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    settings = load_settings()
    evening = at(settings.calendar.latest_closed_day(datetime.now(UTC)), 17, 5)
    data = scheduled(schedules.close_trading_day, tmp_path, evening)
    assert data.run_requests == []
    assert data.skip_message == "no trading day has events that its marts have not seen"
    with duckdb.connect(settings.warehouse) as warehouse:
        warehouse.executemany(
            "INSERT INTO trading_day_versions VALUES (?, ?)",
            [
                ["2014-05-06", 1],
                [evening.date() + timedelta(days=1), 1],
                ["2026-03-05", 2],
                ["2026-03-06", 3],
                ["2026-03-09", 1],
            ],
        )
    made = parts.warehouse(settings)
    for day in (date(2026, 3, 6), date(2026, 3, 9)):
        refresh(made, day)
        replace_plan(made, day)
    with duckdb.connect(settings.warehouse) as warehouse:
        warehouse.execute("UPDATE trading_day_versions SET version = 2 WHERE trading_day = '2026-03-09'")
    data = scheduled(schedules.close_trading_day, tmp_path, evening)
    # 2014 has no partition; tomorrow is not over (a clock may be ahead); of the 9th marts are behind.
    assert [request.partition_key for request in data.run_requests] == ["2026-03-05", "2026-03-09"]
    # A close that failed is asked for again the next evening, although Dagster drops run keys it has seen.
    again = scheduled(schedules.close_trading_day, tmp_path, evening - timedelta(days=1))
    keys = [request.run_key for request in (*data.run_requests, *again.run_requests)]
    assert len(set(keys)) == 4


def test_how_often_it_looks_is_a_setting(tmp_path: Path) -> None:
    shows = "from usage_analytics.orchestration.sensors import waiting_messages as s; print(s.minimum_interval_seconds)"
    environment = {**os.environ, "USAGE_ANALYTICS_SENSOR_INTERVAL_S": "4", "USAGE_ANALYTICS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", shows], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "4"
