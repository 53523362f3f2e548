"""What was lost: Kafka's unread messages are given up by a person only, records are made again from proved chunks."""

import getpass
import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from fakes import FakeKafka, message
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.landing import GRACE
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.micro_batch import land_window
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import run_micro_batch
from usage_analytics.reconciliation.hop_counts import HopCounts, reconcile
from usage_analytics.settings import PREFIX, Settings, load_settings
from usage_analytics_tests.integration.platform_under_test import clean_environment, micro_batch, open_window

LOSS = ["accept-loss", "--kafka-partition", "0", "--from", "5", "--to", "7"]


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKafka]:
    """Five messages landed; of three more, Kafka has deleted two. The other Kafka partition has new messages."""
    clean_environment(monkeypatch, tmp_path)
    kafka = FakeKafka.of(2)
    kafka.topic = load_settings().topic
    monkeypatch.setattr(parts, "kafka_source", lambda settings: nullcontext(kafka))
    kafka.produce(0, *[b"{}"] * 5)
    land_now(load_settings())
    kafka.produce(0, *[b"{}"] * 3)
    kafka.kafka_partitions[0].low = 7
    kafka.produce(1, *[b"{}"] * 4)
    yield kafka


def land_now(settings: Settings) -> None:
    window = settings.calendar.window_from_key(open_window(settings))
    land_window(settings, window, window.start)


def command(*arguments: str) -> str:
    return " ".join(CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False).stdout.split())


def test_the_other_kafka_partitions_are_loaded_before_the_run_fails(kafka: FakeKafka) -> None:
    settings = load_settings()
    kafka.produce(1, message())
    told = r"deleted offsets 5 to 7 before .* \(to go on .* accept-loss --kafka-partition 0 --from 5 --to 7\)"
    with open_instance(settings.home) as instance, pytest.raises(UserError, match=told):
        run_micro_batch(settings, instance)
    assert parts.offset_log(settings).committed() == {0: 5, 1: 5}
    loaded = parts.warehouse(settings).read("SELECT kafka_partition, kafka_offset FROM usage_events")
    assert loaded.rows() == [(1, 4)]
    with open_instance(settings.home) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("raw_messages"), "nothing_deleted_unread")
        [looked, *_] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert looked.event is not None
        evaluation = looked.event.get_dagster_event().asset_check_evaluation_data
    assert re.search("Of one Kafka partition, nothing can be landed: .* " + told, command("status"))
    for options in ([], ["--against-kafka"]):  # what has landed agrees, and yet something is lost
        compared = CliRunner().invoke(cli.app, ["reconcile", *options], catch_exceptions=False)
        shown = " ".join(compared.stdout.split())
        assert re.search(told, shown) and "Not at each hop once" not in shown and compared.exit_code == 1
    assert not evaluation.passed and re.search(told, str(evaluation.description))


def test_a_kafka_partition_that_cannot_be_asked_is_told_once_the_others_are_loaded(kafka: FakeKafka) -> None:
    settings, told = load_settings(), "Kafka partition 0: no broker leads it"
    kafka.unanswered = {0: told}
    kafka.produce(1, message())
    with open_instance(settings.home) as instance, pytest.raises(UserError, match=told):
        run_micro_batch(settings, instance)
    assert parts.warehouse(settings).read("SELECT kafka_partition, kafka_offset FROM usage_events").rows() == [(1, 4)]
    shown = command("status")
    assert f"Of one Kafka partition, nothing can be landed: {told}" in shown and "high watermark" in shown


def test_a_log_that_was_cut_short_is_told_once_the_others_are_loaded(kafka: FakeKafka) -> None:
    settings, told = load_settings(), "Kafka now holds another message at offset 4 than the one that was landed"
    kafka.kafka_partitions[0].low = 0
    kafka.cut_short(0, 3)
    kafka.produce(0, *[b"new"] * 4)
    kafka.produce(1, message())
    with open_instance(settings.home) as instance, pytest.raises(UserError, match=told):
        run_micro_batch(settings, instance)
    assert parts.warehouse(settings).read("SELECT kafka_partition, kafka_offset FROM usage_events").rows() == [(1, 4)]
    assert told in command("status")
    assert "different" in command("reconcile", "--against-kafka")


def test_a_damaged_message_is_told_once_all_that_comes_before_it_is_loaded(kafka: FakeKafka) -> None:
    settings, told = load_settings(), f"Kafka could not deliver {kafka.topic} partition 0 offset 6"
    kafka.kafka_partitions[0].low = 0
    kafka.undeliverable = {0: 6}
    kafka.kafka_partitions[0].messages[5] = (None, message())
    kafka.produce(1, message())
    with open_instance(settings.home) as instance, pytest.raises(UserError, match=told):
        run_micro_batch(settings, instance)
    loaded = parts.warehouse(settings).read("SELECT kafka_partition, kafka_offset FROM usage_events ORDER BY ALL")
    assert loaded.rows() == [(0, 5), (1, 4)]
    assert f"Of one Kafka partition, nothing can be landed: {told}" in command("status")
    # A person deletes it on Kafka, and accepts that.
    kafka.kafka_partitions[0].low, kafka.undeliverable = 7, {}
    command("accept-loss", "--kafka-partition", "0", "--from", "6", "--to", "7", "--yes")
    land_now(settings)
    assert parts.offset_log(settings).committed()[0] == 8


def test_an_accepted_loss_lets_landing_go_on_and_is_told_ever_after(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, window = load_settings(), open_window(load_settings())
    with pytest.raises(UserError, match=r"Kafka partition 0: Kafka deleted offsets 5 to 7, not 5 to 8"):
        command(*LOSS[:-1], "8", "--yes")
    with pytest.raises(UserError, match=r"Kafka partition 1: Kafka has deleted nothing that was not landed"):
        command(*LOSS[:2], "1", *LOSS[3:], "--yes")
    assert "are lost; with --yes, window" in command(*LOSS)
    assert "First offset that is kept" in command("accept-loss", "--help")
    assert parts.offset_log(settings).committed() == {0: 5}
    chunks = parts.enriched_reader(settings).of_window(parts.offset_log(settings), window)
    parts.warehouse(settings).load_window(settings.topic, window, chunks)
    assert "Landed but not loaded yet" not in command("status")
    assert "accepted as lost" in command(*LOSS, "--reason", "the disk was full", "--yes")
    assert f"Landed but not loaded yet: some of window {window}" in command("status"), "the loss, until the next run"
    checked = micro_batch(settings, window)
    assert parts.offset_log(settings).committed() == {0: 8, 1: 4}
    told = "Kafka partition 0, offsets 5 to 7"
    assert checked.success
    sentence = (
        f"{told} (2), window {window}: an accepted loss, the disk was full (accepted by {getpass.getuser()} at 20"
    )
    for shown in (["reconcile"], ["reconcile", "--window", window], ["status"], ["status", "--all"]):
        assert sentence in command(*shown), shown
    assert [f"{c.record.start}: {c.balances}" for c in _counts(settings) if c.record.accepted_loss] == ["5: True"]
    assert CliRunner().invoke(cli.app, ["reconcile"]).exit_code == 0, "what was accepted is no difference"
    told_of_kafka = CliRunner().invoke(cli.app, ["status"], catch_exceptions=False)
    assert "How long Kafka keeps what waits is unknown: no Kafka" in told_of_kafka.stdout
    assert told_of_kafka.exit_code == 0, "that alone is no reason to fail"
    [tiles] = [c for c in checked.get_asset_check_evaluations() if c.check_name == "offsets_tile"]
    assert told in str(tiles.metadata["accepted_losses"].value)
    with pytest.raises(UserError, match="there is no loss to accept"):
        command(*LOSS, "--yes")
    monkeypatch.setenv(PREFIX + "PSEUDONYM_KEY", "another key, long enough")
    (settings.lake / "pseudonym_key.json").unlink()
    assert window in command("dead-letters", "replay")  # its rows are made again, with the chunk that has none
    assert [f"{c.record.start}: {c.balances}" for c in _counts(load_settings()) if c.record.accepted_loss] == [
        "5: True"
    ]
    parts.offset_log(settings)._path(0, 5).unlink()
    command("rebuild-offset-records", "--kafka-partition", "0", "--from", "5")
    assert "the disk was full (accepted by" in command("reconcile")


def test_messages_of_the_year_10000_are_counted_and_shown_without_a_time(kafka: FakeKafka) -> None:
    settings, window = load_settings(), open_window(load_settings())
    kafka.kafka_partitions[0].low = 0
    kafka.produce(1, message())
    kafka.kafka_partitions[1].received_us |= {0: 2**50 * 1_000 - 1, 4: 253_402_300_800_000_000}
    assert micro_batch(settings, window).success
    for shown in (command("reconcile"), command("reconcile", "--minutes")):
        assert "│ - │ 2 │ 1 │ 1 │ 1 │ yes │" in shown
    assert f"window {window}, received - reason" in command("dead-letters", "show", "--at", "1:0")


@pytest.mark.parametrize("ahead", ["clock", "time zone"])
def test_chunks_of_a_newer_window_than_the_open_one_are_told(
    ahead: str, kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"TIMEZONE": "Asia/Tokyo", "OPENING_HOUR": "0", "CLOSING_HOUR": "24"} if ahead == "time zone" else {}
    with monkeypatch.context() as then:
        for name, value in clock.items():
            then.setenv(PREFIX + name, value)
        settings = load_settings()
        now = datetime.now(UTC) + timedelta(days=0 if clock else 400)
        newer = settings.calendar.window_at(now)
        assert land_window(settings, newer, newer.start).messages == 4
    settings, window = load_settings(), open_window(load_settings())
    told = (
        f"has chunks in window {newer.key}, but by the clock the open window is {window}: the clock stepped back, or "
        "was ahead when those landed, or USAGE_ANALYTICS_TIMEZONE, USAGE_ANALYTICS_WINDOW_MINUTES or the hours of the "
        f"windows were others then. Nothing lands until windows begin at or after {newer.key}: set the clock or the "
        "setting right, or wait until then; where that is too long, another USAGE_ANALYTICS_HOME lands all that Kafka "
        "still holds"
    )
    kafka.produce(1, b"{}")
    with pytest.raises(UserError, match=re.escape(told)):
        land_now(settings)
    with pytest.raises(UserError, match=re.escape(told)):
        command(*LOSS, "--yes")
    assert f"Nothing can be landed: Kafka partition 1 {told}" in command("status")


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_window_with_an_accepted_loss_is_verified_without_kafka(damage: str, kafka: FakeKafka) -> None:
    settings = load_settings()
    command(*LOSS, "--yes")
    [loss] = parts.offset_log(settings).accepted_losses()
    path = parts.layout(settings).raw_chunk(loss.window, loss.file)
    content = path.read_bytes()
    path.unlink()
    if damage == "cut short":
        path.write_bytes(content[: len(content) // 2])
    kafka.kafka_partitions.pop(0)
    window = settings.calendar.window_from_key(loss.window)
    report = land_window(settings, window, window.end + GRACE)
    assert (report.repaired, report.verified) == ([loss], 2)
    assert path.read_bytes() == content


def _counts(settings: Settings) -> list[HopCounts]:
    return reconcile(parts.offset_log(settings), parts.layout(settings), parts.warehouse(settings)).chunks


@pytest.mark.parametrize("what_happened", ["lost", "damaged"])
def test_a_record_is_made_again_from_its_chunk(what_happened: str, kafka: FakeKafka) -> None:
    settings, window = load_settings(), open_window(load_settings())
    log = parts.offset_log(settings)
    kafka.kafka_partitions[0].low = 5
    land_now(settings)
    whole = list(log.all())
    again = ["rebuild-offset-records", "--kafka-partition", "0", "--from", "0"]
    with pytest.raises(UserError, match="offset 0: its offset record is there and sound"):
        command(*again)
    path = log._path(0, 0)
    if what_happened == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b'"rows": 5', b'"rows": 6'))
        with pytest.raises(UserError, match="usage-analytics rebuild-offset-records --kafka-partition 0 --from 0"):
            list(log.all())
    assert f"record of offsets 0 to 5, window {window}, rebuilt" in command(*again)
    assert list(log.all()) == whole


@pytest.fixture
def chain(kafka: FakeKafka) -> OffsetLog:
    """Records at offsets 0, 5, 8, 9 and 10 of Kafka partition 0, which Kafka gives no more."""
    settings = load_settings()
    kafka.kafka_partitions[0].low = 5
    for _ in range(3):
        land_now(settings)
        kafka.produce(0, b"{}")
    land_now(settings)
    kafka.kafka_partitions[0].low = kafka.kafka_partitions[0].high
    log = parts.offset_log(settings)
    assert [r.start for r in log.all() if r.kafka_partition == 0] == [0, 5, 8, 9, 10]
    return log


def rebuild(start: int) -> str:
    return command("rebuild-offset-records", "--kafka-partition", "0", "--from", str(start))


def content(log: OffsetLog) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(log.folder.rglob("*.json"))}


def test_neighbouring_records_are_made_again_as_they_were(chain: OffsetLog) -> None:
    whole = content(chain)
    chain._path(0, 5).unlink()
    chain._path(0, 8).write_bytes(b"{}")
    chain._path(0, 9).unlink()
    with pytest.raises(UserError, match=r"offset 9: the record before it ends at 5; rebuild from there"):
        rebuild(9)
    told = rebuild(5)
    assert all(f"record of offsets {place}, window" in told for place in ("5 to 8", "8 to 9", "9 to 10"))
    assert content(chain) == whole
    assert chain._path(0, 8).with_name(f"{chain._path(0, 8).name}.damaged").read_bytes() == b"{}"


def test_lost_records_are_told_with_the_command_that_makes_them_again(chain: OffsetLog) -> None:
    chain._path(0, 0).unlink()
    chain._path(0, 5).unlink()
    told = (
        "Kafka partition 0: gap {} to {}: the lake has lost offset records: restore them from a copy of the lake, or "
    )
    told += "make them again from their chunks: usage-analytics rebuild-offset-records --kafka-partition 0 --from {}"
    assert told.format(5, 8, 5) in command("status", "--all")
    rebuild(5)
    assert told.format(0, 5, 0) in command("status", "--all"), "a loss further back shows too"
    rebuild(0)
    assert "gap" not in command("status", "--all")
    chain._path(0, 8).unlink()
    assert told.format(8, 9, 8) in command("status", "--all")


def test_a_record_that_joins_no_other_is_not_made(chain: OffsetLog) -> None:
    chain._path(0, 5).unlink()
    chain._path(0, 8).unlink()
    later = chain._path(0, 9)
    record = json.loads(later.read_bytes()) | {"follows": 7}
    del record["crc"]
    later.write_bytes(json.dumps(record).encode())
    with pytest.raises(UserError, match=r"offset 5: the next record follows 7, not 8"):
        rebuild(5)
    assert not chain._path(0, 5).exists()


def test_no_loss_is_accepted_of_what_the_lake_still_has(chain: OffsetLog) -> None:
    chain._path(0, 10).unlink()
    lost = ["accept-loss", "--kafka-partition", "0", "--from", "10", "--to", "11"]
    remedy = "usage-analytics rebuild-offset-records --kafka-partition 0 --from 10"
    for yes in ([], ["--yes"]):
        with pytest.raises(UserError, match=f"the lake still has offsets 10 to 11, without a record: {remedy}"):
            command(*lost, *yes)
    assert "record of offsets 10 to 11" in rebuild(10)


def test_a_record_that_its_chunk_does_not_prove_is_not_made(kafka: FakeKafka) -> None:
    settings = load_settings()
    log, layout = parts.offset_log(settings), parts.layout(settings)
    kafka.kafka_partitions[0].low = 5
    land_now(settings)
    [first, *_] = log.all()
    log._path(0, 0).unlink()
    chunk = layout.raw_chunk(first.window, first.file)
    content = bytearray(chunk.read_bytes())
    content[len(content) // 8] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(UserError, match="no sound chunk begins there that would prove the record"):
        command("rebuild-offset-records", "--kafka-partition", "0", "--from", "0")
    assert not log._path(0, 0).exists()
