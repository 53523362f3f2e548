"""What every test has at hand."""

import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse
    from usage_analytics_tests.synapse_pool.pool import Pool

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can import the hand-written fakes

# A shell that starts the tests in the background has them ignore these, and so do all processes that they start.
for ignored, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, default)

settings.register_profile(
    "everyday", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("everyday")


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A folder in memory where the machine has one: durable steps cost nothing there."""
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def warehouse(memory_path: Path) -> "DuckDBWarehouse":
    """An embedded warehouse of its own for each test."""
    from usage_analytics.warehouse.duckdb.warehouse import DuckDBWarehouse

    return DuckDBWarehouse(memory_path / "warehouse.duckdb", wait_s=1)


@pytest.fixture
def shared_data() -> Path:
    """The recorded data beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded data: {folder} is absent")
    return folder


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often offset records are read, and folders of them listed."""
    counts: Counter[str] = Counter()
    read_bytes, listdir = Path.read_bytes, os.listdir

    def read(path: Path) -> bytes:
        counts["read"] += path.suffix == ".json"
        return read_bytes(path)

    def listed(folder: Path) -> list[str]:
        counts["listed"] += Path(folder).name.isdecimal()
        return listdir(folder)

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(os, "listdir", listed)
    return counts


@pytest.fixture
def synapse_pool(tmp_path: Path) -> Iterator["Pool"]:
    """A dedicated SQL pool of Synapse on this machine, whose lake is `tmp_path`."""
    from usage_analytics_tests.synapse_pool.pool import missing, running_pool

    if reason := missing():
        pytest.skip(reason)
    with running_pool(tmp_path) as pool:
        yield pool
