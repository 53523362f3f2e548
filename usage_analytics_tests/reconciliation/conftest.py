from pathlib import Path

import pytest
from whole_chain import Chain


@pytest.fixture
def chain(memory_path: Path) -> Chain:
    return Chain(memory_path)
