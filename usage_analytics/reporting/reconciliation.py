"""What people see of a reconciliation: what is not at each hop once, and counts by hour or minute of arrival."""

from collections.abc import Sequence

from usage_analytics import parts
from usage_analytics.ingestion.accepted_loss import in_words
from usage_analytics.reconciliation.arrivals import HOUR_US, MINUTE_US, counts_by_arrival
from usage_analytics.reconciliation.hop_counts import reconcile, reconcile_window
from usage_analytics.reconciliation.offset_differences import offset_differences
from usage_analytics.reporting.terminal import CONSOLE, instant, print_table
from usage_analytics.settings import Settings


def print_reconciliation(settings: Settings, windows: Sequence[str], by_minute: bool) -> bool:
    """Compare every message of windows at every hop, print what differs and the counts; whether nothing differs."""
    log, layout, warehouse = parts.offset_log(settings), parts.layout(settings), parts.warehouse(settings)
    records = [record for window in windows for record in log.of_window(window)] if windows else list(log.all())
    span = MINUTE_US if by_minute else HOUR_US
    arrivals = counts_by_arrival(records, layout, warehouse, span)
    rows = [
        (instant(arrived), raw, letters, loaded, raw == letters + loaded)
        for arrived, raw, letters, loaded in arrivals.select("arrived_us", "raw", "dead_letters", "loaded").iter_rows()
    ]
    span_name = "minute" if by_minute else "hour"
    counted = (f"arrived in the {span_name} of", "raw", "dead letters", "loaded", "balances")
    print_table(f"Topic {settings.topic}", counted, rows)
    for loss in in_words(records):
        CONSOLE.print(loss)
    found = offset_differences(records, layout, warehouse)
    if found:
        columns = ("hop", "messages", "are", "Kafka partition", "from offset", "to offset", "window")
        places = [(d.hop, d.messages, d.kind, d.kafka_partition, f"{d.first}", f"{d.last}", d.window) for d in found]
        print_table("Not at each hop once", columns, places)
        CONSOLE.print("To mend a window: materialize raw_messages, usage_events and loaded_events of it")
    all_counts = [reconcile_window(log, layout, warehouse, window) for window in windows]
    all_counts = all_counts or [reconcile(log, layout, warehouse)]
    strays = [sentence for counts in all_counts for sentence in counts.strays()]
    for sentence in strays:
        CONSOLE.print(sentence)
    return not found and not strays
