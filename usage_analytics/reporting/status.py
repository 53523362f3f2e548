"""How far the platform has come: Kafka against the lake, the last windows, the ledger."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.accepted_loss import in_words
from usage_analytics.ingestion.landing import has_ended
from usage_analytics.ingestion.newer_windows import told_of_newer
from usage_analytics.ingestion.verification import TilingFault, lost_beginnings, tiling_faults
from usage_analytics.reconciliation.hop_counts import (
    MOST_UNFINISHED,
    Reconciliation,
    reconcile,
    reconcile_window,
    refuse_lost_records,
    unfinished_chunks,
)
from usage_analytics.reporting.kafka_status import kafka_status
from usage_analytics.reporting.terminal import CONSOLE, print_table
from usage_analytics.settings import Settings
from usage_analytics.warehouse.freshness import Freshness, freshness

SHOWN = 5  # windows named in a sentence
TIME_TO_LOAD = timedelta(minutes=15)  # after a window has ended, for what was landed into it at last


@dataclass(frozen=True)
class HopTotals:
    """Messages of one window, or of all, at each hop."""

    name: str
    raw: int
    enriched: int
    dead_letters: int
    loaded: int
    balances: bool
    freshness: Freshness | None  # of one window
    unexplained: dict[str, int]  # rows in the warehouse that no chunk of the lake explains, by window


@dataclass(frozen=True)
class Told:
    """Sentences: what is the matter, and what is only worth a word."""

    matters: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def print_status(settings: Settings, windows: int, everything: bool) -> bool:
    """Print Kafka against the lake, and the ledger of the newest windows (and of all); whether nothing is the matter.

    UserError, after the ledger: Kafka cannot be asked.
    """
    of_kafka = Told()
    unreachable: UserError | None = None
    try:
        of_kafka = _print_kafka(settings)
    except UserError as error:
        unreachable = error
    totals = window_totals(settings, windows) + ([hop_totals(settings)] if everything else [])
    if totals:
        hops = [(t.name, t.raw, t.enriched, t.dead_letters, t.loaded, t.balances, _fresh(t.freshness)) for t in totals]
        ledger = ("window", "raw", "enriched", "dead letters", "loaded", "balances", "to query, p50 / p95")
        print_table("Ledger", ledger, hops)
    log = parts.offset_log(settings)
    for loss in in_words(log.all() if everything else log.accepted_losses()):
        CONSOLE.print(loss)
    unloaded = _unloaded(settings, datetime.now(UTC))
    matters = (
        of_kafka.matters
        + _ahead_of_the_clock(settings)
        + _not_enriching(settings)
        + unloaded.matters
        + (_broken_chains(settings) if everything else [])
        + [_unexplained(total) for total in totals if total.unexplained]
    )
    for sentence in matters + of_kafka.words + unloaded.words:
        CONSOLE.print(sentence)
    if unreachable is not None:
        raise unreachable
    return not matters


def _print_kafka(settings: Settings) -> Told:
    kafka = kafka_status(settings)
    # Of a topic that the lake does not continue, nothing can be said to wait.
    rows = [
        (s.kafka_partition, s.low, s.committed, s.high, None if kafka.refusal else s.lag)
        for s in kafka.kafka_partitions
    ]
    columns = ("Kafka partition", "low watermark", "committed offset", "high watermark", "lag")
    print_table(f"Topic {settings.topic}", columns, rows)
    told = Told([f"Nothing can be landed: {kafka.refusal}"] if kafka.refusal else [])
    told.matters.extend(f"Of one Kafka partition, nothing can be landed: {loss}" for loss in kafka.losses)
    if kafka.deadline is not None and kafka.deadline.is_soon:
        (told.matters if kafka.deadline.is_at_hand else told.words).append(kafka.deadline.describe())
    if kafka.retention_unknown:
        told.words.append(f"How long Kafka keeps what waits is unknown: {kafka.retention_unknown}")
    return told


def window_totals(settings: Settings, count: int) -> list[HopTotals]:
    """The newest windows that hold messages, newest first."""
    log, layout = parts.offset_log(settings), parts.layout(settings)
    warehouse, windows = parts.warehouse(settings), log.latest_windows(count)
    return [
        _totals(w, reconcile_window(log, layout, warehouse, w), freshness(warehouse, settings.topic, w))
        for w in windows
    ]


def hop_totals(settings: Settings) -> HopTotals:
    """All messages at each hop."""
    log, layout = parts.offset_log(settings), parts.layout(settings)
    return _totals("all windows", reconcile(log, layout, parts.warehouse(settings)))


def _totals(name: str, counts: Reconciliation, freshness: Freshness | None = None) -> HopTotals:
    return HopTotals(
        name=name,
        raw=sum(c.record.rows for c in counts.chunks),
        enriched=sum(c.enriched or 0 for c in counts.chunks),
        dead_letters=sum(c.dead_letters or 0 for c in counts.chunks),
        loaded=counts.loaded,
        balances=not counts.differences(),
        freshness=freshness,
        unexplained=counts.unexplained,
    )


def _broken_chains(settings: Settings) -> list[str]:
    log = parts.offset_log(settings)
    records = list(log.all())
    faults = tiling_faults(records) + lost_beginnings(log.firsts())
    found = [f"{fault.describe()}: {_remedy(fault)}" for fault in faults]
    try:
        refuse_lost_records(log, records, settings.topic, parts.warehouse(settings))
    except UserError as error:
        found.append(str(error))
    return found


def _remedy(fault: TilingFault) -> str:
    copy = "restore them from a copy of the lake"
    if fault.kind != "gap":
        return f"the lake's offset records were changed: {copy}"
    place = f"--kafka-partition {fault.kafka_partition} --from {fault.start}"
    again = f"make them again from their chunks: usage-analytics rebuild-offset-records {place}"
    return f"the lake has lost offset records: {copy}, or {again}"


def _ahead_of_the_clock(settings: Settings) -> list[str]:
    open_now = settings.calendar.window_at(datetime.now(UTC)).key
    told = told_of_newer(parts.offset_log(settings), open_now)
    return [] if told is None else [f"Nothing can be landed: {told}"]


def _not_enriching(settings: Settings) -> list[str]:
    try:
        parts.refuse_unless_enrichable(settings)
    except UserError as error:
        return [f"Nothing can be enriched: {error}"]
    return []


def _unloaded(settings: Settings, now: datetime) -> Told:
    try:
        chunks = unfinished_chunks(parts.offset_log(settings), settings.topic, parts.warehouse(settings))
    except UserError as error:
        return Told([str(error)])
    windows = sorted({chunk.window for chunk in chunks})
    overdue = [window for window in windows if _is_overdue(settings, window, now)]
    at_work = [window for window in windows if window not in overdue]
    told = Told()
    if overdue:
        most = max(Counter(chunk.kafka_partition for chunk in chunks).values())
        at_least = "at least " if most >= MOST_UNFINISHED else ""
        told.matters.append(
            f"Landed but not loaded, and ended long ago: {at_least}{_counted(overdue)}; the runs of usage-analytics ui "
            "load what was left, or materialize usage_events and loaded_events of it"
        )
    if at_work:
        told.words.append(
            f"Landed but not loaded yet: some of {_counted(at_work)}; a run that is at work loads it, or else the next"
        )
    return told


def _is_overdue(settings: Settings, window: str, now: datetime) -> bool:
    try:
        return has_ended(settings.calendar.window_from_key(window), now - TIME_TO_LOAD)
    except UserError:  # it was landed under another trading clock, so long ago
        return True


def _fresh(freshness: Freshness | None) -> str | None:
    return None if freshness is None else f"{freshness.median_s:,.0f} s / {freshness.p95_s:,.0f} s"


def _unexplained(total: HopTotals) -> str:
    windows, rows = _named(list(total.unexplained)), sum(total.unexplained.values())
    return (
        f"Of {total.name}, the warehouse holds {rows:,} rows that no record of the lake explains, loaded from window "
        f"{windows}: restore the lake; if Kafka gave the same offsets again, into another window, materialize "
        f"loaded_events of window {windows}, which takes them out"
    )


def _counted(windows: list[str]) -> str:
    return f"window {windows[0]}" if len(windows) == 1 else f"{len(windows):,} windows ({_named(windows)})"


def _named(windows: list[str]) -> str:
    return ", ".join(windows[:SHOWN]) + (f" and {len(windows) - SHOWN:,} more" if len(windows) > SHOWN else "")
