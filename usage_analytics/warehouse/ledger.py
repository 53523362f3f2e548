"""The load ledger: which chunks are in the warehouse, and whether their rows still are those that were loaded."""

from dataclasses import dataclass
from datetime import date

from usage_analytics.ingestion.shares import Share
from usage_analytics.tables import LOAD_LEDGER
from usage_analytics.warehouse.session import Session, Values

OF_SHARE = "topic = :topic AND kafka_partition % :of = :number"
COLUMNS = ", ".join(LOAD_LEDGER.column_names())
CHUNK_ROWS = """
load_window = :load_window AND topic = :topic AND kafka_partition = :kafka_partition AND chunk_start = :start_offset
"""
COUNT = "COUNT(*) AS row_count, CAST(SUM(CAST(kafka_offset AS DECIMAL(38, 0))) AS DECIMAL(38, 0)) AS offset_sum"


@dataclass(frozen=True)
class LoadedChunk:
    """A row of the ledger: a chunk as it was loaded; ``offset_sum`` is None in warehouses of before."""

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

    @property
    def place(self) -> dict[str, object]:
        """The parameters of `CHUNK_ROWS`."""
        names = ("load_window", "topic", "kafka_partition", "start_offset")
        return {name: getattr(self, name) for name in names}


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


def held(session: Session, topic: str, share: Share, window: str) -> dict[tuple[int, int], Held]:
    """The rows that are there of each chunk of a window, by Kafka partition and start."""
    query = f"""
    SELECT kafka_partition, chunk_start, {COUNT} FROM usage_events WHERE {OF_SHARE} AND load_window = :load_window
    GROUP BY kafka_partition, chunk_start
    """
    rows = session.rows(query, {**of_share(topic, share), "load_window": window})
    return {(partition, start): Held(count, int(total)) for partition, start, count, total in rows}


def altered(chunk: LoadedChunk, there: Held) -> bool:
    """Whether rows of a chunk were lost, doubled or exchanged since it was loaded."""
    return there.rows != chunk.row_count or (chunk.offset_sum is not None and there.offset_sum != chunk.offset_sum)


def forget(session: Session, chunk: LoadedChunk, *tiers: str) -> set[date]:
    """Take a chunk out of the ledger, and its rows out of the tables that hold them; the trading days it changes."""
    days = {
        day for (day,) in session.rows(f"SELECT DISTINCT trading_day FROM usage_events WHERE {CHUNK_ROWS}", chunk.place)
    }
    for tier in tiers or ("usage_events",):
        session.run(f"DELETE FROM {tier} WHERE {CHUNK_ROWS}", chunk.place)
    row = "topic = :topic AND kafka_partition = :kafka_partition AND start_offset = :start_offset"
    names = ("topic", "kafka_partition", "start_offset")
    session.run(f"DELETE FROM load_ledger WHERE {row}", {name: chunk.place[name] for name in names})
    return days


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
    *first, offset_sum = row
    return LoadedChunk(*first, None if offset_sum is None else int(str(offset_sum)))  # type: ignore[arg-type, call-arg]
