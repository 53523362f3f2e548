"""What loading costs DuckDB at the least: one INSERT of the Parquet files, no ledger, nothing checked."""

import duckdb
from mart_task import asked, done


def main() -> None:
    task = asked()
    spill = {"memory_limit": f"{task.memory_mb}MB", "temp_directory": str(task.folder / "spill")}
    connection = duckdb.connect(str(task.folder / "usage.duckdb"), config=spill)
    source = "read_parquet($files, hive_partitioning = false)"
    connection.execute(f"CREATE TABLE usage_events AS SELECT * FROM {source} LIMIT 0", {"files": task.files})
    connection.execute(f"INSERT INTO usage_events SELECT * FROM {source}", {"files": task.files})
    connection.close()
    done()


if __name__ == "__main__":
    main()
