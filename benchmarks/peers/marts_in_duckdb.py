"""All marts of a trading day by DuckDB alone, straight from the Parquet files: `marts_in_duckdb.sql`."""

from pathlib import Path

import duckdb
from mart_task import MARTS, asked, done, funnel


def main() -> None:
    task, steps = asked(), funnel()
    spill = {"memory_limit": f"{task.memory_mb}MB", "temp_directory": str(task.folder / "spill")}
    connection = duckdb.connect(config=spill | {"preserve_insertion_order": False})
    values = {"files": task.files, "day": task.day, "funnel": steps.name, "within_us": steps.within_us}
    values |= {f"step_{number}": mini_app for number, mini_app in enumerate(steps.steps, start=1)}
    for name, value in values.items():
        connection.execute(f"SET VARIABLE {name} = $value", {"value": value})
    for statement in Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").removesuffix(";\n").split(";\n"):
        connection.execute(statement)
    for mart in MARTS:
        connection.execute(f"COPY ({with_texts(connection, mart)}) TO '{task.mart(mart)}' (FORMAT parquet)")
    done()


def with_texts(connection: duckdb.DuckDBPyConnection, mart: str) -> str:
    """The rows of a mart with texts for enums: DuckDB 2.0.0 writes '' to Parquet for some values of a large enum."""
    kinds = connection.execute(f"DESCRIBE {mart}").fetchall()
    texts = [f"CAST({name} AS VARCHAR) AS {name}" for name, kind, *_ in kinds if kind.startswith("ENUM")]
    return f"SELECT * REPLACE ({', '.join(texts)}) FROM {mart}" if texts else f"FROM {mart}"


if __name__ == "__main__":
    main()
