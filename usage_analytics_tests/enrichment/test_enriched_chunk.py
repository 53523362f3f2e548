"""Enriched chunks on disk: damage is noticed and made good, byte for byte; readers make nothing and believe nothing."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import KEY, OPEN, TOPIC, FakeKafka, flip, land_all, memory_folder, message
from hypothesis import given, settings
from hypothesis import strategies as st

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.enrich import Enricher, EnrichmentReport
from usage_analytics.enrichment.enriched_chunk import (
    REPEATING,
    EnrichedDamaged,
    EnrichedReader,
    Examination,
    NotEnriched,
    examine_every_byte,
    examine_footers,
    read_enriched,
    verify_events,
)
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.lake.layout import Layout
from usage_analytics.lake.sealed_parquet import read_footer, write_sealed
from usage_analytics.trading_calendar import trading_calendar

REMEDY = f"materialize usage_events of window {OPEN.key}"


@dataclass
class Enriched:
    """A chunk of 40 messages, one in ten broken, landed and enriched; and what its files held then."""

    layout: Layout
    record: ChunkRecord
    key: bytes = KEY

    @classmethod
    def of(cls, folder: Path, broken_every: int = 10) -> "Enriched":
        kafka, layout = FakeKafka.of(1), Layout(folder, TOPIC)
        kafka.produce(0, *(message(event_id=str(n)) if n % broken_every else b"broken" for n in range(1, 41)))
        chunk = cls(layout, land_all(kafka, layout)[0])
        chunk.enrich()
        return chunk

    @property
    def events(self) -> Path:
        return self.layout.usage_events(self.record.window, self.record.name)

    @property
    def letters(self) -> Path:
        return self.layout.dead_letters(self.record.window, self.record.name)

    def enricher(self) -> Enricher:
        return Enricher(self.layout, load_mapping("usage_event"), trading_calendar(), self.key, 1_000)

    def enrich(self, examine: Examination = examine_footers) -> EnrichmentReport:
        return self.enricher().enrich([self.record], examine)

    def reader(self) -> EnrichedReader:
        return EnrichedReader(self.layout, self.enricher().fingerprint)

    def files(self) -> dict[str, bytes]:
        """All files of the lake but the raw ones."""
        paths = [p for kind in ("usage_events", "dead_letters") for p in (self.layout.root / kind).rglob("*")]
        return {str(path): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture
def chunk(memory_path: Path) -> Enriched:
    return Enriched.of(memory_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_body(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:50] + content[60:])


def write_without_seal(path: Path) -> None:
    pq.write_table(pq.read_table(path), path)


SEEN_IN_FOOTERS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "dead letters deleted": ("letters", Path.unlink, "it is gone"),
    "dead letters cut": ("letters", cut, "its footer cannot be read"),
    "dead letters cut in the body": ("letters", cut_in_the_body, "others than were written"),
    "dead letters emptied": ("letters", lambda path: path.write_bytes(b""), "its footer cannot be read"),
    "dead letters written by another hand": ("letters", write_without_seal, "it has no seal"),
    "events cut": ("events", cut, "its footer cannot be read"),
    "events cut in the body": ("events", cut_in_the_body, "others than were written"),
    "events written by another hand": ("events", write_without_seal, "it has no seal"),
}
SEEN_IN_BYTES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "dead letters changed": ("letters", flip, "its bytes are not those that were written"),
    "events changed": ("events", flip, "its bytes are not those that were written"),
}


@pytest.mark.parametrize("examine", [examine_footers, examine_every_byte])
@pytest.mark.parametrize("kind", SEEN_IN_FOOTERS)
def test_damage_seen_in_footers_is_made_good(kind: str, examine: Examination, chunk: Enriched) -> None:
    file, harm, why = SEEN_IN_FOOTERS[kind]
    assert_made_good(chunk, getattr(chunk, file), harm, why, examine)


@pytest.mark.parametrize("kind", SEEN_IN_BYTES)
def test_damage_seen_in_bytes_is_made_good(kind: str, chunk: Enriched) -> None:
    file, harm, why = SEEN_IN_BYTES[kind]
    assert_made_good(chunk, getattr(chunk, file), harm, why, examine_every_byte)


def assert_made_good(chunk: Enriched, path: Path, harm: Callable[[Path], None], why: str, examine: Examination) -> None:
    clean = chunk.files()
    harm(path)
    report = chunk.enrich(examine)
    assert (report.enriched_now, report.rows, report.dead_letters) == (1, 36, 4)
    [damage] = report.damage
    assert damage.startswith(f"{path} is damaged (") and why in damage and damage.endswith(f"{REMEDY} again")
    assert chunk.files() == clean
    again = chunk.enrich(examine)
    assert (again.enriched_now, again.damage) == (0, [])


@settings(max_examples=40)
@given(events=st.booleans(), position=st.integers(0, 10_000))
def test_whichever_byte_changed_it_is_made_good(events: bool, position: int) -> None:
    with memory_folder() as folder:
        chunk = Enriched.of(Path(folder))
        clean = chunk.files()
        flip(chunk.events if events else chunk.letters, position)
        chunk.enrich(examine_every_byte)
        assert chunk.files() == clean


def test_a_deleted_events_file_is_made_again(chunk: Enriched) -> None:
    clean = chunk.files()
    chunk.events.unlink()
    report = chunk.enrich()
    assert (report.enriched_now, report.damage) == (1, [])  # as if it had never been made
    assert chunk.files() == clean


def test_the_open_window_does_not_read_what_it_keeps(chunk: Enriched) -> None:
    flip(chunk.events)
    assert chunk.enrich(examine_footers).enriched_now == 0


def test_dead_letters_that_should_not_be_there_are_removed(memory_path: Path) -> None:
    chunk = Enriched.of(memory_path / "good", broken_every=1_000)
    assert not chunk.letters.exists()
    other = Enriched.of(memory_path / "broken")
    chunk.letters.parent.mkdir(parents=True)
    shutil.copy(other.letters, chunk.letters)
    [damage] = chunk.enrich().damage
    assert damage.startswith(f"{chunk.letters} is damaged (there should be none)")
    assert not chunk.letters.exists()


def test_dead_letters_of_another_enrichment_are_replaced(chunk: Enriched) -> None:
    # A run under another key died after the dead letters, before the events file; then the first key came back.
    clean = chunk.files()
    chunk.key = b"another key, also long"
    chunk.enrich()
    for path, content in clean.items():
        if "usage_events" in path:
            Path(path).write_bytes(content)
    chunk.key = KEY
    [damage] = chunk.enrich().damage
    assert "it is of another enrichment than the usage events" in damage
    assert chunk.files() == clean


def test_fewer_dead_letters_than_the_usage_events_tell_of_are_made_again(chunk: Enriched) -> None:
    clean, letters = chunk.files(), pq.read_table(chunk.letters)
    write_sealed(letters.slice(1), chunk.letters, read_footer(chunk.letters).facts, REPEATING)
    [damage] = chunk.enrich().damage
    assert f"it has {letters.num_rows - 1} dead letters, not {letters.num_rows}" in damage
    assert chunk.files() == clean


def test_what_is_not_of_its_raw_chunk_is_not_enriched(chunk: Enriched) -> None:
    assert read_enriched(chunk.layout, chunk.record) is not None
    other = dataclasses.replace(chunk.record, checksum="other")
    assert read_enriched(chunk.layout, other) is None
    assert refusal(chunk.reader(), other) == f"chunk {other.name} was enriched from other content: {REMEDY} first"


def refusal(reader: EnrichedReader, record: ChunkRecord) -> str:
    with pytest.raises(NotEnriched) as raised:
        reader.chunks([record])
    return str(raised.value)


def test_a_reader_gives_what_enrichment_left(chunk: Enriched) -> None:
    [found] = chunk.reader().chunks([chunk.record])
    assert (found.path, found.rows, found.dead_letters, found.reasons) == (chunk.events, 36, 4, {"not_json": 4})
    assert [found] == chunk.enrich().chunks


def test_a_reader_says_what_to_do_and_makes_nothing(chunk: Enriched) -> None:
    reader, record, clean = chunk.reader(), chunk.record, chunk.files()
    why = "was enriched under another mapping, key, calendar or version than now"
    assert refusal(EnrichedReader(chunk.layout, "0" * 16), record) == f"chunk {record.name} {why}: {REMEDY} first"
    chunk.letters.unlink()
    assert refusal(reader, record) == f"{chunk.letters} is damaged (it is gone): {REMEDY} again"
    chunk.events.unlink()
    assert refusal(reader, record) == f"chunk {record.name} is not enriched: {REMEDY} first"
    assert chunk.files() == {}
    chunk.enrich()
    assert chunk.files() == clean


def test_events_are_read_whole_before_they_are_loaded(chunk: Enriched) -> None:
    [found], clean = chunk.reader().chunks([chunk.record]), chunk.files()
    verify_events(found)
    flip(chunk.events)
    with pytest.raises(EnrichedDamaged, match="its bytes are not those that were written"):
        verify_events(found)
    # Whatever window it is, materializing it again helps: the next quick look does not find the damaged file.
    assert not chunk.events.exists()
    assert chunk.enrich(examine_footers).enriched_now == 1
    assert chunk.files() == clean
