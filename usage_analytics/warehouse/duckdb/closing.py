"""Closes trading days: moves fresh rows into DuckDB's own columns, in one transaction with the view."""

from collections.abc import Sequence
from datetime import date

from usage_analytics.errors import UserError
from usage_analytics.tables import EVENT_COLUMNS
from usage_analytics.warehouse.duckdb.fresh_files import FreshFiles
from usage_analytics.warehouse.duckdb.session import DuckDBSession
from usage_analytics.warehouse.duckdb.tiers import CLOSED, NAMES, FreshChunk, fresh_chunks, give_up, leave_out, unlist


def close_day(session: DuckDBSession, fresh: FreshFiles, day: date) -> None:
    """Close the chunks that hold events of a trading day, with all that they hold.

    `UserError`, and none is closed: files that are damaged. They are given up, and so loaded again.
    """
    chunks = [chunk for chunk in fresh_chunks(session) if day in chunk.days]
    lost = _given_up(session, fresh, chunks)
    if lost:
        file, why = next((fresh.folder / chunk.file, why) for chunk, why in lost)
        more = f" (and {len(lost) - 1} files more)" if len(lost) > 1 else ""
        windows = ", ".join(sorted({chunk.load_window for chunk, _ in lost}))
        remedy = f"materialize loaded_events of window {windows}, or let the next run do so; then this again"
        raise UserError(f"{file} is damaged{more}: {why}; its rows were taken out: {remedy}")
    close_chunks(session, fresh, chunks)


def close_whole(session: DuckDBSession, fresh: FreshFiles) -> None:
    """Close all fresh chunks; those that are damaged are given up."""
    chunks = fresh_chunks(session)
    lost = {chunk for chunk, _ in _given_up(session, fresh, chunks)}
    close_chunks(session, fresh, [chunk for chunk in chunks if chunk not in lost])


def close_chunks(session: DuckDBSession, fresh: FreshFiles, chunks: Sequence[FreshChunk]) -> None:
    """Move the rows of chunks, whose files are whole, into the closed tier."""
    if chunks:
        source = fresh.relation(chunk.file for chunk in chunks)
        with session.transaction():
            session.run_natively(f"INSERT INTO {CLOSED.name} ({NAMES}) SELECT {NAMES} FROM {source}")
            leave_out(session, fresh, chunks)
    fresh.sweep(chunk.file for chunk in fresh_chunks(session))


def close_files_of_before(session: DuckDBSession, fresh: FreshFiles, chunks: Sequence[FreshChunk]) -> list[FreshChunk]:
    """Close those chunks whose files, all of them there, lack columns; the damaged among these are left, and returned.

    Their rows have null in such columns. Within a transaction that makes the view anew, which cannot read such files.
    """
    names = [column.name for column in EVENT_COLUMNS]
    lacking = [chunk for chunk in chunks if fresh.columns(chunk.file) != names]
    damaged = [chunk for chunk in lacking if fresh.damage(chunk.file)]
    whole = [chunk for chunk in lacking if chunk not in damaged]
    if whole:
        source = fresh.relation(chunk.file for chunk in whole)
        session.run_natively(f"INSERT INTO {CLOSED.name} BY NAME SELECT * FROM {source}")
        unlist(session, whole)
    return damaged


def _given_up(session: DuckDBSession, fresh: FreshFiles, chunks: Sequence[FreshChunk]) -> list[tuple[FreshChunk, str]]:
    # To the last bit: what a changed one makes of a file would be closed for good, and counted.
    lost = [(chunk, why) for chunk in chunks if (why := fresh.damage(chunk.file))]
    if lost:
        with session.transaction():
            give_up(session, fresh, [chunk for chunk, _ in lost])
    return lost
