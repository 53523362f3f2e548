"""Read again from Kafka, what raw lacks or holds otherwise is named by its offsets; what Kafka deleted is no fault."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import OPEN
from whole_chain import Chain

from usage_analytics.errors import UserError
from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.reconciliation.kafka_comparison import Gone, KafkaComparison, compare_with_kafka

Place = tuple[str, int, int, int, int]


def compared(chain: Chain) -> KafkaComparison:
    return compare_with_kafka(chain.kafka, chain.layout, chain.records, batch_messages=3)


def differing(chain: Chain) -> list[Place]:
    found = compared(chain).differences
    assert all((d.hop, d.window) == ("raw", OPEN.key) for d in found)
    return [(d.kind, d.kafka_partition, d.first, d.last, d.messages) for d in found]


def raw_chunk(chain: Chain, number: int) -> Path:
    return chain.layout.raw_chunk(chain.records[number].window, chain.records[number].file)


def cut_short(chain: Chain, number: int) -> None:
    path = raw_chunk(chain, number)
    path.write_bytes(path.read_bytes()[:-30])


def test_what_kafka_gives_again_is_what_landed(chain: Chain) -> None:
    assert compared(chain) == KafkaComparison(40, [], [])


@pytest.mark.parametrize("record_too", [True, False])
def test_a_message_that_was_missed_is_named_though_record_and_chunk_agree(record_too: bool, chain: Chain) -> None:
    record, messages = chain.records[1], pq.read_table(raw_chunk(chain, 1))
    writer = ChunkWriter(raw_chunk(chain, 1))
    for batch in pa.concat_tables([messages.slice(0, 3), messages.slice(5)]).combine_chunks().to_batches():
        writer.write(batch)
    checksum = writer.close(record.end)
    if record_too:
        chain.records[1] = replace(record, rows=writer.rows, checksum=checksum)
    assert differing(chain) == [("lost", 0, 13, 14, 2)]


def test_a_message_that_is_another_one_is_named(chain: Chain) -> None:
    chain.kafka.kafka_partitions[1].messages[4] = (b"a key", chain.kafka.kafka_partitions[1].messages[4][1])
    chain.kafka.kafka_partitions[1].messages[7] = (None, b"something else")
    assert differing(chain) == [("different", 1, 4, 4, 1), ("different", 1, 7, 7, 1)]


def test_a_chunk_that_cannot_be_read_has_lost_all_its_messages(chain: Chain) -> None:
    cut_short(chain, 3)
    assert differing(chain) == [("lost", 1, 10, 19, 10)]


def test_a_record_that_agrees_with_neither_is_told(chain: Chain) -> None:
    chain.records[0] = replace(chain.records[0], checksum="00000000")
    assert differing(chain) == [("not as its record says", 0, 0, 9, 10)]


def test_what_kafka_has_deleted_since_is_told_apart_from_differences(chain: Chain) -> None:
    first, second = chain.kafka.kafka_partitions[0], chain.kafka.kafka_partitions[1]
    first.low = 13
    del second.messages[4]  # compacted away
    assert compared(chain) == KafkaComparison(26, [], [Gone(0, 0, 10, 10), Gone(0, 10, 13, 3), Gone(1, 4, 5, 1)])
    cut_short(chain, 1)
    assert differing(chain) == [("lost", 0, 13, 19, 7)]


def test_another_topic_of_the_same_name_is_refused(chain: Chain) -> None:
    chain.kafka.identity = "second"
    with pytest.raises(UserError, match="is not the one the lake holds messages of"):
        compared(chain)
