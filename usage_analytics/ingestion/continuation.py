"""Makes sure that Kafka goes on where the lake ends: the last message that was landed is still there, as it was.

A Kafka log can lose its end: a replica that lagged behind is made leader, or a machine that held the only one loses its
power. Messages that are produced then take offsets that the lake has other messages at, and once there are enough of
them, landing would go on behind those, in silence. A topic that was created again on a cluster that tells no
identities looks the same.
"""

from dataclasses import replace
from itertools import islice

from usage_analytics.ingestion.chunk_file import last_message, last_of_chunk
from usage_analytics.ingestion.offset_log import ChunkRecord, OffsetLog
from usage_analytics.ingestion.planning import LeftAlone, MessageSource, Plan, cut_short, plan_what_agrees
from usage_analytics.ingestion.range_reader import Undeliverable
from usage_analytics.lake.layout import Layout

LOOKED_AT = 100  # records without a message (markers of transactions, accepted losses) that are passed over


def plan_what_continues(source: MessageSource, log: OffsetLog, layout: Layout) -> Plan:
    """What waits and can be landed, as landing itself finds out; reads two messages of each Kafka partition."""
    planned = plan_what_agrees(source, log, budget=2**62)
    ranges, refusals = dict(planned.ranges), list(planned.refusals)
    for kafka_partition, (start, end) in planned.ranges.items():
        try:
            refuse_unless_continued(source, log, layout, kafka_partition)
            next(iter(source.read(kafka_partition, start, end, batch_messages=1)), None)
        except LeftAlone as refusal:
            del ranges[kafka_partition]
            refusals.append(str(refusal))
    return replace(planned, ranges=ranges, refusals=refusals)


def refuse_unless_continued(source: MessageSource, log: OffsetLog, layout: Layout, kafka_partition: int) -> None:
    """`LeftAlone` if Kafka holds another message where the last one was landed.

    That it holds none there proves nothing: it may have deleted or compacted it since.
    """
    landed = _last_landed(log, layout, kafka_partition)
    if landed is None:
        return
    record, ends_with = landed
    offset = int(ends_with.partition(":")[0])
    try:
        found = next(iter(source.read(kafka_partition, offset, offset + 1, batch_messages=1)), None)
    except Undeliverable:
        return
    if found is not None and last_message(found) != ends_with:
        told = f"Kafka now holds another message at offset {offset} than the one that was landed from there"
        raise LeftAlone(cut_short(record.topic, kafka_partition, record.end, told))


def _last_landed(log: OffsetLog, layout: Layout, kafka_partition: int) -> tuple[ChunkRecord, str] | None:
    """The newest record, and the last message of the newest one that has any; None where that is not known."""
    newest = log.last(kafka_partition)
    if newest is None:
        return None
    for record in islice(log.of_offsets(kafka_partition, 0, newest.end), LOOKED_AT):
        if record.rows:
            ends_with = record.ends_with or last_of_chunk(layout.raw_chunk(record.window, record.file))
            return None if ends_with is None else (newest, ends_with)
    return None
