"""All marts of a trading day by chDB, which is ClickHouse in a library: `marts_in_chdb.sql`.

From its own table, if `load_in_chdb.py` has left one in the folder of the marts, else straight from the Parquet files.
"""

import re
from pathlib import Path

from chdb.session import Session
from chdb_source import parquet
from mart_task import asked, done, funnel


def main() -> None:
    task, steps = asked(), funnel()
    session = Session(str(task.folder / "chdb"))
    loaded = session.query("EXISTS TABLE usage_events").bytes().strip() == b"1"
    values = {
        "source": "usage_events" if loaded else parquet(task.lake),
        "day": task.day,
        "funnel": steps.name,
        "within_us": str(steps.within_us),
        **{f"step_{number}": mini_app for number, mini_app in enumerate(steps.steps, start=1)},
    }
    text = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    text = re.sub(r"{mart (\w+)}", lambda found: f"file('{task.mart(found[1])}', Parquet)", text)
    for statement in text.removesuffix(";\n").split(";\n"):
        session.query(statement)
    session.close()
    done()


if __name__ == "__main__":
    main()
