"""The load ledger: which chunks are in the warehouse, and whether their rows still are those that were loaded."""

from dataclasses import dataclass
from datetime import date

from usage_analytics.ingestion.shares import Share
from usage_analytics.tables import LOAD_LEDGER, Table
from usage_analytics.warehouse.session import Session, Values

OF_SHARE = "topic = :topic AND kafka_partition % :of = :number"
COLUMNS = ", ".join(LOAD_LEDGER.column_names())
CHUNK_ROWS = """
load_window = :load_window AND topic = :topic AND kafka_partition = :kafka_partition AND chunk_start = :start_offset
"""
# Without the days, a store would look through all history for the rows of a window or of a chunk.
IN_DAYS = "trading_day >= :first_day AND trading_day <= :last_day"
DAYS_OF_WINDOW = f"""
SELECT MIN(first_day), MAX(last_day), SUM(CASE WHEN row_count > 0 AND first_day IS NULL THEN 1 ELSE 0 END)
FROM load_ledger WHERE {OF_SHARE} AND load_window = :load_window
"""
COUNT = "COUNT(*) AS row_count, CAST(SUM(CAST(kafka_offset AS DECIMAL(38, 0))) AS DECIMAL(38, 0)) AS offset_sum"


@dataclass(frozen=True)
class LoadedChunk:
    """A row of the ledger: a chunk as it was loaded.

    ``first_day``, ``last_day``: of its events' trading days. They and ``offset_sum`` are None in warehouses of before,
    the days of a chunk without events too.
    """

    load_window: str
    topic: str
    kafka_partition: int
    start_offset: int
    end_offset: int
    row_count: int
    dead_letters: int
    fingerprint: str
    loaded_us: int
    offset_sum: int | None
    first_day: date | None
    last_day: date | None

    @property
    def place(self) -> dict[str, object]:
        """The parameters of `CHUNK_ROWS`."""
        names = ("load_window", "topic", "kafka_partition", "start_offset")
        return {name: getattr(self, name) for name in names}

    @property
    def days(self) -> dict[str, object]:
        """The parameters of `IN_DAYS`."""
        return _days(self.first_day, self.last_day)


@dataclass(frozen=True)
class Held:
    """Rows that are there: how many, and the sum of their offsets."""

    rows: int
    offset_sum: int


NOTHING = Held(0, 0)


def of_share(topic: str, share: Share) -> dict[str, object]:
    """The parameters of `OF_SHARE`."""
    return {"topic": topic, "of": share.of, "number": share.number}


def loaded_chunks(session: Session, topic: str, share: Share, window: str | None = None) -> list[LoadedChunk]:
    """The ledger's rows of a window, or of all."""
    query = f"SELECT {COLUMNS} FROM load_ledger WHERE {OF_SHARE}"
    values = of_share(topic, share)
    if window is not None:
        query, values = f"{query} AND load_window = :load_window", {**values, "load_window": window}
    return [_loaded_chunk(row) for row in session.rows(f"{query} ORDER BY kafka_partition, start_offset", values)]


def days_of_window(session: Session, topic: str, share: Share, window: str) -> dict[str, object]:
    """The parameters of `IN_DAYS`, for all that was loaded into a window."""
    place = {**of_share(topic, share), "load_window": window}
    [(first, last, unknown)] = session.rows(DAYS_OF_WINDOW, place)
    return _days(None, None) if unknown else _days(first, last)


def held(session: Session, topic: str, share: Share, window: str) -> dict[tuple[int, int], Held]:
    """The rows that are there of each chunk of a window, by Kafka partition and start."""
    query = f"""
    SELECT kafka_partition, chunk_start, {COUNT} FROM usage_events
    WHERE {OF_SHARE} AND load_window = :load_window AND {IN_DAYS}
    GROUP BY kafka_partition, chunk_start
    """
    place = {**of_share(topic, share), "load_window": window, **days_of_window(session, topic, share, window)}
    rows = session.rows(query, place)
    return {(partition, start): Held(count, int(total)) for partition, start, count, total in rows}


def altered(chunk: LoadedChunk, there: Held) -> bool:
    """Whether rows of a chunk were lost, doubled or exchanged since it was loaded."""
    return there.rows != chunk.row_count or (chunk.offset_sum is not None and there.offset_sum != chunk.offset_sum)


def forget(session: Session, chunk: LoadedChunk, *tiers: Table) -> set[date]:
    """Take a chunk out of the ledger, and its rows out of the tables that hold them; the trading days it changes."""
    of_chunk, values = f"{CHUNK_ROWS} AND {IN_DAYS}", {**chunk.place, **chunk.days}
    found = session.rows(f"SELECT DISTINCT trading_day FROM usage_events WHERE {of_chunk}", values)
    for tier in tiers:
        if tier.by_day:
            session.run(f"DELETE FROM {tier.name} WHERE {of_chunk}", values)
        else:
            session.run(f"DELETE FROM {tier.name} WHERE {CHUNK_ROWS}", chunk.place)
    row = "topic = :topic AND kafka_partition = :kafka_partition AND start_offset = :start_offset"
    names = ("topic", "kafka_partition", "start_offset")
    session.run(f"DELETE FROM load_ledger WHERE {row}", {name: chunk.place[name] for name in names})
    return {day for (day,) in found}


def record(session: Session, chunk: LoadedChunk) -> None:
    """Write a chunk's row; within the transaction that loads it."""
    names = LOAD_LEDGER.column_names()
    values: Values = {name: getattr(chunk, name) for name in names}
    session.run(f"INSERT INTO load_ledger ({COLUMNS}) VALUES ({', '.join(f':{name}' for name in names)})", values)


def next_version(session: Session, day: date) -> None:
    """Count a change of a trading day's events: marts of an earlier version are stale."""
    of_day: Values = {"day": day}
    known = session.rows("SELECT version FROM trading_day_versions WHERE trading_day = :day", of_day)
    session.run("DELETE FROM trading_day_versions WHERE trading_day = :day", of_day)
    version = known[0][0] + 1 if known else 1
    session.run(
        "INSERT INTO trading_day_versions (trading_day, version) VALUES (:day, :version)",
        {**of_day, "version": version},
    )


def _loaded_chunk(row: tuple[object, ...]) -> LoadedChunk:
    *first, offset_sum, first_day, last_day = row
    total = None if offset_sum is None else int(str(offset_sum))
    return LoadedChunk(*first, total, first_day, last_day)  # type: ignore[arg-type, call-arg]


def _days(first: date | None, last: date | None) -> dict[str, object]:
    return {"first_day": first or date.min, "last_day": last or date.max}
