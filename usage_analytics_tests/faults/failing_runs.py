"""Runs in the midst of which something happens, and the sentence with which a run fails."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from usage_analytics.ingestion.chunk_file import ChunkWriter
from usage_analytics.settings import Settings
from usage_analytics_tests.integration.platform_under_test import micro_batch


def sentence_of_failure(settings: Settings, window: str) -> str:
    """What a person reads of a micro-batch that must fail."""
    with pytest.raises(dg.Failure) as caught:
        micro_batch(settings, window)
    assert caught.value.description is not None
    return str(caught.value.description)


def at_batch(patch: pytest.MonkeyPatch, number: int, happens: Callable[[], None]) -> None:
    """Something happens once, after so many batches have been written to chunks."""
    write, written = ChunkWriter.write, [0]

    def wrapped(writer: ChunkWriter, batch: object) -> None:
        write(writer, batch)  # type: ignore[arg-type]
        written[0] += 1
        if written[0] == number:
            happens()

    patch.setattr(ChunkWriter, "write", wrapped)
