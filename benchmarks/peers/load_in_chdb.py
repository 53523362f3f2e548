"""The Parquet files into chDB's own table, sorted as its marts are made from it: `marts_in_chdb.py`."""

from chdb.session import Session
from chdb_source import COLUMNS, parquet
from mart_task import asked, done

CREATE = f"""
CREATE TABLE usage_events ({COLUMNS}) ENGINE = MergeTree PARTITION BY trading_day
ORDER BY (user_id, event_time_us, topic, kafka_partition, kafka_offset)
"""


def main() -> None:
    task = asked()
    session = Session(str(task.folder / "chdb"))
    session.query(CREATE)
    session.query(f"INSERT INTO usage_events SELECT * FROM {parquet(task.lake)}")
    session.close()
    done()


if __name__ == "__main__":
    main()
