"""A path means one file, whatever signs of a pattern it holds: another folder's rows are never read for one's own."""

from pathlib import Path

import duckdb
import polars as pl
import pytest
from fakes import KEY, OPEN
from whole_chain import Chain

from usage_analytics.enrichment.dead_letters import all_letters, by_reason, letters_by_window
from usage_analytics.enrichment.pseudonyms import pseudonym
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.lake.literal_paths import for_duckdb
from usage_analytics.reconciliation.arrivals import COUNTED, HOUR_US, counts_by_arrival
from usage_analytics.reconciliation.kafka_comparison import compare_with_kafka

NAMES = [
    "u[1]", "u1", "w*x", "wyx", "q?x", "qyx", "a{b,c}", "ab", "x**", "x", "a]b", "[", "[!a]", "[[]", "[a-z]", "%20",
    " ", "#", "a'b", 'a"b', "é", "s3:x", "window=1", "$x", "~",
]  # fmt: skip


def test_duckdb_reads_the_one_file_that_is_meant(memory_path: Path) -> None:
    paths = {name: memory_path / name / f"{name}.parquet" for name in NAMES}
    for name, path in paths.items():
        path.parent.mkdir()
        pl.DataFrame({"name": [name]}).write_parquet(path)
    for name, path in paths.items():
        query = "SELECT name FROM read_parquet(?, hive_partitioning = false)"
        assert duckdb.execute(query, [for_duckdb(path)]).fetchall() == [(name,)]


@pytest.mark.parametrize(("name", "other"), [("w*x", "wyx"), ("u[1]", "u1"), ("[!a]", "[!a]b")])
def test_a_home_folder_is_no_pattern_of_others(name: str, other: str, memory_path: Path) -> None:
    Chain(memory_path / other, user="eve")
    chain = Chain(memory_path / name, user="mary")
    loaded = chain.warehouse.read("SELECT user_id, count(*) FROM usage_events GROUP BY ALL").rows()
    assert loaded == [(pseudonym(KEY, "mary"), 32)]
    arrived = counts_by_arrival(chain.records, chain.layout, chain.warehouse, HOUR_US)
    assert arrived.select(COUNTED).rows() == [(40, 32, 8, 32)]
    windows = letters_by_window(chain.layout, OffsetLog(chain.layout.offsets))
    assert by_reason(all_letters(chain.layout, windows))["messages"].to_list() == [8]
    chain.kafka.kafka_partitions[0].messages[3] = (None, b"another than was landed")
    [found] = compare_with_kafka(chain.kafka, chain.layout, chain.records, 100).differences
    assert (found.kind, found.first, found.messages, found.window) == ("different", 3, 1, OPEN.key)
