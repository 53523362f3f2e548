"""Real telemetry under mappings written for it: what its own schemas let pass comes through, what they refuse does not.

The mappings, beside this file, are matter of the test: of use to the senders of these messages only. The schema of a
message depends on where it was sent to, which Kafka users would have as a topic; so files are given a mapping by name.
"""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import KEY, OPEN, TOPIC, FakeKafka, land_all

from usage_analytics.contract import load_mapping
from usage_analytics.enrichment.enrich import Enricher
from usage_analytics.lake.layout import Layout
from usage_analytics.trading_calendar import trading_calendar

MAPPINGS = Path(__file__).parent / "telemetry_pings"
OF_FOLDER = {"telemetry": "telemetry", "glean": "glean"}
OF_FILE = {"impression-stats.1": "impression_stats_1", "impression-stats.2": "impression_stats_2"}


def mapping_of(path: Path) -> str:
    document = ".".join(path.name.split(".")[:2])
    return OF_FILE.get(document) or OF_FOLDER.get(path.parent.name, "others")


@pytest.mark.parametrize("name", sorted(path.stem for path in MAPPINGS.glob("*.toml")))
def test_each_is_judged_as_its_schema_would(name: str, shared_data: Path, memory_path: Path) -> None:
    files = [p for p in sorted((shared_data / "telemetry_pings").rglob("*.json")) if mapping_of(p) == name]
    if not files:
        pytest.skip(f"no telemetry pings in {shared_data}")
    kafka, layout = FakeKafka.of(1), Layout(memory_path, TOPIC)
    kafka.produce(0, *(path.read_bytes() for path in files))
    [record] = land_all(kafka, layout)
    enricher = Enricher(layout, load_mapping(str(MAPPINGS / f"{name}.toml")), trading_calendar(), KEY, 1_000)
    [chunk] = enricher.enrich([record]).chunks
    passed = {files[offset].name for offset in pq.read_table(chunk.path).column("kafka_offset").to_pylist()}
    failed = {}
    if chunk.dead_letters:
        letters = pq.read_table(layout.dead_letters(OPEN.key, chunk.record.name)).to_pylist()
        failed = {files[letter["kafka_offset"]].name: letter["detail"] for letter in letters}
    assert {n: detail for n, detail in failed.items() if n.endswith(".pass.json")} == {}
    assert [n for n in sorted(passed) if n.endswith(".fail.json")] == []
    assert passed | set(failed) == {path.name for path in files}
