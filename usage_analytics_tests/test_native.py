"""Pieces in C: where one is missing or cannot be loaded, nothing fails, and the log says what then happens."""

import logging
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from usage_analytics.native import compiled_piece


def test_what_was_not_compiled_is_done_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert compiled_piece(tmp_path, "scan", "messages are judged by SQL alone") is None
    assert caplog.messages == ["scan was not compiled; messages are judged by SQL alone, which is slower"]


def test_what_cannot_be_loaded_is_done_otherwise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"_scan{EXTENSION_SUFFIXES[0]}").write_bytes(b"of another machine")
    with caplog.at_level(logging.INFO):
        assert compiled_piece(tmp_path, "scan", "messages are judged by SQL alone") is None
    assert "cannot be loaded" in caplog.text and "judged by SQL alone, which is slower" in caplog.text
