"""What people see of a reconciliation: what is not at each hop once, and counts by hour or minute of arrival."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import in_words
from usage_analytics.ingestion.landing import GRACE, ended_from
from usage_analytics.ingestion.offset_log import ChunkRecord
from usage_analytics.ingestion.planning import plan_what_agrees
from usage_analytics.reconciliation.arrivals import COUNTED, HOUR_US, MINUTE_US, counts_by_arrival
from usage_analytics.reconciliation.hop_counts import Reconciliation, reconcile, reconcile_window
from usage_analytics.reconciliation.kafka_comparison import Gone, compare_with_kafka
from usage_analytics.reconciliation.offset_differences import OffsetDifference, offset_differences
from usage_analytics.reporting.terminal import CONSOLE, instant, print_table
from usage_analytics.settings import Settings


def print_reconciliation(settings: Settings, windows: Sequence[str], by_minute: bool) -> bool:
    """Compare every message of windows at every hop, print what differs and the counts; whether nothing differs."""
    log, layout, warehouse = parts.offset_log(settings), parts.layout(settings), parts.warehouse(settings)
    for window in windows:
        if not log.of_window(window) and not reconcile_window(log, layout, warehouse, window).strays():
            raise UserError(
                f"nothing of topic {settings.topic} has landed in window {window}; "
                "'usage-analytics status --windows 20' shows windows that it has"
            )
    records = _records(settings, windows)
    span = MINUTE_US if by_minute else HOUR_US
    arrivals = counts_by_arrival(records, layout, warehouse, span)
    rows = [
        (instant(arrived), raw, enriched, letters, loaded, raw == enriched + letters and enriched == loaded)
        for arrived, raw, enriched, letters, loaded in arrivals.select("arrived_us", *COUNTED).iter_rows()
    ]
    span_name = "minute" if by_minute else "hour"
    counted = (f"arrived in the {span_name} of", "raw", "enriched", "dead letters", "loaded", "balances")
    print_table(f"Topic {settings.topic}", counted, rows)
    for loss in in_words(records):
        CONSOLE.print(loss)
    # Before the offsets: what a run loads between the two looks must not be taken for a loss without a word on the run.
    counts = [reconcile_window(log, layout, warehouse, window) for window in windows]
    counts = counts or [reconcile(log, layout, warehouse)]
    found = offset_differences(records, layout, warehouse)
    if found:
        _print_differences("Not at each hop once", found)
        CONSOLE.print(
            "To mend a window: materialize raw_messages, usage_events and loaded_events of it; "
            f"{_read_again_from(settings, found)}"
        )
    for sentence in _perhaps_at_work(found, counts):
        CONSOLE.print(sentence)
    strays = [sentence for each in counts for sentence in each.strays()]
    for sentence in strays:
        CONSOLE.print(sentence)
    return not found and not strays


def print_unlanded_losses(settings: Settings) -> bool:
    """Print what Kafka deleted before it was landed, without a person's word on it; whether there is no such loss.

    Where Kafka cannot be asked, that is printed instead.
    """
    try:
        with parts.kafka_source(settings) as source:
            refusals = plan_what_agrees(source, parts.offset_log(settings), budget=0).refusals
    except UserError as error:
        CONSOLE.print(f"Only what was landed was compared, for want of Kafka: {error}")
        return True
    for refusal in refusals:
        CONSOLE.print(refusal)
    return not refusals


def print_comparison_with_kafka(settings: Settings, windows: Sequence[str]) -> bool:
    """Read the messages of windows again from Kafka, print what raw has not or otherwise; whether nothing differs.

    UserError: Kafka cannot be asked, or its topic is another one.
    """
    with parts.kafka_source(settings) as source:
        compared = compare_with_kafka(
            source, parts.layout(settings), _records(settings, windows), settings.batch_messages
        )
    CONSOLE.print(f"{compared.messages:,} messages were read again from Kafka and compared with the raw chunks")
    for sentence in _no_longer_held(compared.gone):
        CONSOLE.print(sentence)
    if compared.differences:
        _print_differences("Not as on Kafka", compared.differences)
        CONSOLE.print(
            "Where a chunk is not as its record says: materialize raw_messages of its window; "
            f"{_read_again_from(settings, compared.differences)}. Where the two agree, no run reads them again: a new "
            "USAGE_ANALYTICS_HOME lands anew what Kafka still holds"
        )
    return not compared.differences


def _records(settings: Settings, windows: Sequence[str]) -> list[ChunkRecord]:
    log = parts.offset_log(settings)
    return [record for window in windows for record in log.of_window(window)] if windows else list(log.all())


def _print_differences(title: str, found: Iterable[OffsetDifference]) -> None:
    columns = ("hop", "messages", "are", "Kafka partition", "first offset", "last offset", "window")
    places = [(d.hop, d.messages, d.kind, d.kafka_partition, f"{d.first}", f"{d.last}", d.window) for d in found]
    print_table(title, columns, places)


def _read_again_from(settings: Settings, found: Iterable[OffsetDifference]) -> str:
    newest = max(difference.window for difference in found)
    minutes = GRACE // timedelta(minutes=1)
    told = f"raw_messages reads damaged chunks again from Kafka from {minutes} minutes after the window's end on"
    try:
        return f"{told} (of {newest}: from {ended_from(settings.calendar.window_from_key(newest))} on)"
    except UserError:  # it was landed under another trading clock
        return told


def _perhaps_at_work(found: Iterable[OffsetDifference], counts: Iterable[Reconciliation]) -> list[str]:
    never_loaded = Counter(c.record.window for each in counts for c in each.chunks if c.loaded is None)
    return [
        f"Of window {window}, {never_loaded[window]:,} chunks have not been loaded yet: if a run is at work on it, "
        "look again when it has ended"
        for window in sorted({difference.window for difference in found} & never_loaded.keys())
    ]


def _no_longer_held(gone: Sequence[Gone]) -> list[str]:
    sentences = []
    for kafka_partition in sorted({each.kafka_partition for each in gone}):
        mine = [each for each in gone if each.kafka_partition == kafka_partition]
        messages, start, end = sum(g.messages for g in mine), min(g.start for g in mine), max(g.end for g in mine)
        sentences.append(
            f"Kafka partition {kafka_partition}: of offsets {start} to {end}, Kafka no longer holds {messages:,} "
            "messages that raw has; these were not compared"
        )
    return sentences
