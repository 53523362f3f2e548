"""Says whether marts that somebody else made are the platform's own, row by row and column by column."""

from pathlib import Path

import duckdb

from usage_analytics.tables import MARTS, Kind, Table
from usage_analytics.warehouse.session import Session

DAY = "trading_day"


def export(session: Session, folder: Path, day: object) -> None:
    """Write a trading day of the platform's marts as Parquet files."""
    folder.mkdir(parents=True, exist_ok=True)
    for mart in MARTS:
        columns = ", ".join(_columns(mart))
        query = f"SELECT {columns} FROM {mart.name} WHERE trading_day = :day"
        session.frame(query, {"day": day}).write_parquet(folder / f"{mart.name}.parquet")


def differences(ours: Path, theirs: Path) -> list[str]:
    """In words, every mart and column in which the files of a folder differ from the platform's."""
    return [difference for mart in MARTS for difference in _of_mart(mart, ours, theirs)]


def _columns(mart: Table) -> list[str]:
    return [name for name in mart.column_names() if name != DAY]


def _of_mart(mart: Table, ours: Path, theirs: Path) -> list[str]:
    """Row counts, sums of numbers and of hashes; rows at last as a whole, as columns alone could have been mixed."""
    typed = {c.name: f"CAST({c.name} AS {'VARCHAR' if c.kind is Kind.TEXT else 'BIGINT'})" for c in mart.columns}
    asked = {"rows": "COUNT(*)"}
    for name in _columns(mart):
        asked |= {f"{name} (missing)": f"COUNT(*) - COUNT({name})", f"{name} (hashed)": _hashes(typed[name])}
        if not typed[name].endswith("VARCHAR)"):
            asked[name] = f"SUM({typed[name]})"
    asked["whole rows (hashed)"] = _hashes(", ".join(typed[name] for name in _columns(mart)))
    query, file = f"SELECT {', '.join(asked.values())} FROM read_parquet($file)", f"{mart.name}.parquet"
    with duckdb.connect() as connection:
        found = [connection.execute(query, {"file": str(folder / file)}).fetchone() for folder in (ours, theirs)]
    return [
        f"{mart.name}, {what}: {mine} with the platform, {other} there"
        for what, mine, other in zip(asked, *found, strict=True)
        if mine != other
    ]


def _hashes(values: str) -> str:
    return f"SUM(CAST(hash({values}) AS HUGEINT))"
