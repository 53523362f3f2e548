"""Makes one window's rows in the pool equal to its chunks.

Files are copied into a staging table first, without a transaction; then their rows move into the fresh tier in one
transaction with the ledger, in which each chunk is counted. Staging is made anew before it is used, so that a load that
died is simply begun again.
One loader at a time: the pool has no lock and no key to keep two apart, `SynapseWarehouse.writing` does.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import polars as pl
import pyarrow.parquet as pq

from usage_analytics.enrichment.enriched_chunk import EnrichedChunk
from usage_analytics.errors import UserError
from usage_analytics.tables import EVENT_COLUMNS, Table, bigint, text
from usage_analytics.warehouse.load_applying import LoadPlace, apply_plan
from usage_analytics.warehouse.load_planning import LoadPlan, plan_load
from usage_analytics.warehouse.protocol import LoadReceipt
from usage_analytics.warehouse.synapse import ddl
from usage_analytics.warehouse.synapse.pool import SynapsePool
from usage_analytics.warehouse.synapse.session import SynapseSession
from usage_analytics.warehouse.synapse.tiers import FRESH, IS_LONG, IS_SHORT, LONG, NAMES, STAGING, TABLES, make_room

FILES_AT_ONCE = 1_000  # of the 5,000 that one COPY may name
NEW_CHUNKS = Table(
    "new_chunks",
    (text("topic", 249), *(c for c in EVENT_COLUMNS if c.name == "kafka_partition"), bigint("start_offset"),
     bigint("end_offset")),
    ("topic", "kafka_partition", "start_offset"),
)  # fmt: skip


def load(session: SynapseSession, pool: SynapsePool, place: LoadPlace, chunks: Iterable[EnrichedChunk]) -> LoadReceipt:
    """Replace what differs between the ledger and a share of the window's chunks."""
    load_id = int(datetime.now(UTC).timestamp() * 1e6)
    plan = plan_load(session, place.rebuild, place.topic, place.window, chunks, place.share)
    if plan.new:
        for each in plan.new:
            _refuse_zstd(each.chunk)
        make_room(session, sorted({day for each in plan.new for day in each.days}))
        _stage(session, pool, place, plan)

    def insert_rows() -> None:
        for tier, chosen in ((FRESH, IS_SHORT), (LONG, IS_LONG)) if plan.new else ():
            _move(session, place, tier, chosen, load_id)

    with session.transaction():
        receipt = apply_plan(session, place, plan, insert_rows, *TABLES)
    if plan.new:
        session.run_natively(ddl.drop_table(session.name(STAGING)))
        session.run_natively(f"UPDATE STATISTICS {session.name(FRESH)}")
    return receipt


def _stage(session: SynapseSession, pool: SynapsePool, place: LoadPlace, plan: LoadPlan) -> None:
    staging = session.name(STAGING)
    session.run_natively(ddl.drop_table(staging))
    layout = "DISTRIBUTION = ROUND_ROBIN, HEAP"
    session.run_natively(ddl.create_table(staging, EVENT_COLUMNS, layout, {"properties": ddl.UNBOUNDED}))
    for statement in _copies(staging, pool, place, plan):
        session.run_natively(statement)
    session.temporary(NEW_CHUNKS)
    ranges = [(r.topic, r.kafka_partition, r.start_offset, r.end_offset) for r in (each.row for each in plan.new)]
    session.append(NEW_CHUNKS, pl.DataFrame(ranges, NEW_CHUNKS.column_names(), orient="row"))


def _copies(staging: str, pool: SynapsePool, place: LoadPlace, plan: LoadPlan) -> Iterator[str]:
    # By position: of Parquet files, COPY does not look at the names of columns. It takes no parameters.
    columns = ", ".join(f"[{column.name}] {number}" for number, column in enumerate(EVENT_COLUMNS, start=1))
    credential = "CREDENTIAL = (IDENTITY = 'Managed Identity')"
    label = ddl.text_literal(f"usage_analytics: load window {place.window}")
    files = [each.chunk.path for each in plan.new if each.chunk.rows]
    for first in range(0, len(files), FILES_AT_ONCE):
        some = files[first : first + FILES_AT_ONCE]
        addresses = ", ".join(ddl.address_literal(pool.address(file)) for file in some)
        yield (
            f"COPY INTO {staging} ({columns}) FROM {addresses} "
            f"WITH (FILE_TYPE = 'PARQUET', MAXERRORS = 0, {credential}) OPTION (LABEL = {label})"
        )


def _move(session: SynapseSession, place: LoadPlace, tier: str, chosen: str, load_id: int) -> None:
    into = ", ".join(f"[{name}]" for name in NAMES)
    events = ", ".join(f"s.[{column.name}]" for column in EVENT_COLUMNS)
    label = ddl.text_literal(f"usage_analytics: move window {place.window}")
    session.run_natively(
        f"INSERT INTO {session.name(tier)} ({into}) "
        f"SELECT :load_window, c.[start_offset], CAST(:load_id AS bigint), {events} FROM {session.name(STAGING)} AS s "
        "JOIN #new_chunks AS c ON c.[topic] = s.[topic] AND c.[kafka_partition] = s.[kafka_partition] "
        "AND s.[kafka_offset] >= c.[start_offset] AND s.[kafka_offset] < c.[end_offset] "
        f"WHERE {chosen} OPTION (LABEL = {label})",
        {"load_window": place.window, "load_id": load_id},
    )


def _refuse_zstd(chunk: EnrichedChunk) -> None:
    # What was enriched while DuckDB was the warehouse: Synapse reads gzip and snappy alone.
    metadata = pq.read_metadata(chunk.path)
    found = metadata.row_group(0).column(0).compression.lower() if metadata.num_row_groups else "snappy"
    if found not in ("snappy", "gzip"):
        raise UserError(
            f"{chunk.path} is compressed by {found}, which Synapse does not read; materialize usage_events of window "
            f"{chunk.record.window} again"
        )
