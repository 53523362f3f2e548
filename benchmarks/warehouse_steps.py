"""What `warehouse.py` has the platform do, in a process of its own, with the home folder that the environment names.

.venv/bin/python benchmarks/warehouse_steps.py load 2026-11-24T1815
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from same_marts import export

from usage_analytics import parts
from usage_analytics.settings import load_settings
from usage_analytics.tables import MARTS
from usage_analytics.warehouse.refreshing import refresh_day

Said = dict[str, int]


def start() -> Said:
    """No more than every step does before it begins: imports, and the warehouse opened."""
    with parts.warehouse(load_settings()).session():
        return {}


def load(*windows: str) -> Said:
    settings = load_settings()
    warehouse, reader, log = parts.warehouse(settings), parts.enriched_reader(settings), parts.offset_log(settings)
    chunks = {window: reader.of_window(log, window) for window in windows}
    return {"rows": sum(warehouse.load_window(settings.topic, window, chunks[window]).rows for window in windows)}


def close(*days: str) -> Said:
    warehouse = parts.warehouse(load_settings())
    for day in days:
        warehouse.close_day(date.fromisoformat(day))
    return {}


def marts(*days: str) -> Said:
    settings, rows = load_settings(), 0
    for day in days:
        with parts.warehouse(settings).writing() as session:
            made = refresh_day(session, [mart.name for mart in MARTS], date.fromisoformat(day), settings.mart_rules)
            rows += sum(receipt.rows for receipt in made.values())
    return {"rows": rows}


def late(window: str, day: str) -> Said:
    """A window of late rows and what follows from it, each with its wall and CPU time in milliseconds."""
    loaded, times_of_load = _timed(lambda: load(window))
    _, times_of_refresh = _timed(lambda: close(day) | marts(day))
    said = {f"load_{name}": value for name, value in times_of_load.items()}
    return loaded | said | {f"refresh_{name}": value for name, value in times_of_refresh.items()}


def write(day: str, folder: str) -> Said:
    with parts.warehouse(load_settings()).session() as session:
        export(session, Path(folder), date.fromisoformat(day))
    return {}


def _timed(step: Callable[[], Said]) -> tuple[Said, Said]:
    wall, cpu = time.monotonic(), time.process_time()
    said = step()
    return said, {
        "wall_ms": round((time.monotonic() - wall) * 1e3),
        "cpu_ms": round((time.process_time() - cpu) * 1e3),
    }


STEPS: dict[str, Callable[..., Said]] = {
    "start": start,
    "load": load,
    "close": close,
    "marts": marts,
    "late": late,
    "write": write,
}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
