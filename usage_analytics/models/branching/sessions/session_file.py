"""The file of a trading day's sampled user sessions, and which entities it tells enough of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from usage_analytics.lake.files import publish, temporary_beside
from usage_analytics.models.branching.sessions.user_sessions import SESSION_SCHEMA

SESSIONS_PER_GROUP = 2**15


def write_sessions(sessions: pl.DataFrame, path: Path) -> None:
    """Write user sessions as SESSION_SCHEMA has them, whole or not at all."""
    table = sessions.select(SESSION_SCHEMA.names).to_arrow().cast(SESSION_SCHEMA)
    temporary = temporary_beside(path)
    try:
        pq.write_table(
            table, temporary, row_group_size=SESSIONS_PER_GROUP, compression="zstd", write_page_checksum=True
        )
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def events_in(path: Path) -> int:
    """How many events a file has; 0 where there is none."""
    if not path.exists():
        return 0
    lengths = pc.list_value_length(pq.read_table(path, columns=["mini_apps"]).column(0))
    return int(pc.sum(lengths).as_py() or 0)


def common_entities(path: Path, most: int, least_events: int) -> tuple[str, ...]:
    """The entities of a file with so many events or more, the commonest ones; in order."""
    counts: Counter[str] = Counter()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(SESSIONS_PER_GROUP, columns=["entities"]):
            counted = pc.value_counts(batch["entities"].flatten().drop_null())
            values, times = (counted.field(name).to_pylist() for name in ("values", "counts"))
            counts.update(dict(zip(values, times, strict=True)))
    return tuple(sorted(entity for entity, events in counts.most_common(most) if events >= least_events))
