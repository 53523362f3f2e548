"""Makes sure that Kafka goes on where the lake ends: the last message that was landed is still there, as it was.

A Kafka log can lose its end: a replica that lagged behind is made leader, or a machine that held the only one loses its
power. Messages that are produced then take offsets that the lake has other messages at, and once there are enough of
them, landing would go on behind those, in silence. A topic that was created again on a cluster that tells no
identities looks the same.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from usage_analytics.ingestion.chunk_file import last_message, last_of_chunk
from usage_analytics.ingestion.offset_log import OffsetLog
from usage_analytics.ingestion.planning import LeftAlone, MessageSource, Plan, cut_short, plan_what_agrees
from usage_analytics.ingestion.range_reader import Undeliverable
from usage_analytics.lake.layout import Layout

PASSED_OVER = 100  # records without a message (markers of transactions, accepted losses) that are passed over


def plan_what_continues(source: MessageSource, log: OffsetLog, layout: Layout) -> Plan:
    """What waits and can be landed, as landing itself finds out; reads two messages of each Kafka partition."""
    planned = plan_what_agrees(source, log, budget=2**62)
    ranges, refusals = dict(planned.ranges), list(planned.refusals)
    for kafka_partition, (start, end) in planned.ranges.items():
        try:
            next(read_on(source, log, layout, kafka_partition, start, end, batch_messages=2), None)
        except LeftAlone as refusal:
            del ranges[kafka_partition]
            refusals.append(str(refusal))
    return replace(planned, ranges=ranges, refusals=refusals)


def read_on(
    source: MessageSource, log: OffsetLog, layout: Layout, kafka_partition: int, start: int, end: int,
    batch_messages: int,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """The messages of a range that waits; `LeftAlone` if Kafka holds another one where the last one was landed.

    That it holds none there proves nothing: it may have deleted or compacted it since.
    """
    landed = _last_landed(log, layout, kafka_partition)
    offset = start if landed is None else int(landed.partition(":")[0])
    # In one read: a read of its own would cost more than all that a small micro-batch reads.
    batches = source.read(kafka_partition, offset, end, batch_messages)
    try:
        first = next(batches, None)
    except Undeliverable:
        batches, first = source.read(kafka_partition, start, end, batch_messages), None
    if first is not None:
        offsets = first.column("kafka_offset")
        if landed is not None and offsets[0].as_py() == offset and last_message(first.slice(0, 1)) != landed:
            told = f"Kafka now holds another message at offset {offset} than the one that was landed from there"
            raise LeftAlone(cut_short(source.topic, kafka_partition, start, told))
        first = first.filter(pc.greater_equal(offsets, start)) if offset < start else first
        if first.num_rows:
            yield first
    yield from batches


def _last_landed(log: OffsetLog, layout: Layout, kafka_partition: int) -> str | None:
    """The last message that was landed, as `last_message` tells it; None where that is not known."""
    committed = log.last(kafka_partition)
    if committed is None:
        return None
    for record in islice(log.of_offsets(kafka_partition, 0, committed.end), PASSED_OVER):
        if record.rows:
            return record.ends_with or last_of_chunk(layout.raw_chunk(record.window, record.file))
    return None
