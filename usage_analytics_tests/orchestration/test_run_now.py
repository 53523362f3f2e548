"""Runs in this process: what a failed one says."""

from __future__ import annotations

import signal
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from usage_analytics.errors import UserError
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import close_trading_day, run_micro_batch
from usage_analytics.settings import load_settings
from usage_analytics_tests.integration.platform_under_test import clean_environment, embedded_platform


def refusal_of_micro_batch() -> str:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(UserError) as caught:
        run_micro_batch(load_settings(), instance)
    return str(caught.value)


def test_a_mistake_outside_the_code_is_told_in_its_own_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_platform(monkeypatch, tmp_path, PSEUDONYM_KEY="short") as produced:
        produced.send(10)
        assert refusal_of_micro_batch().endswith(
            "failed: USAGE_ANALYTICS_PSEUDONYM_KEY is shorter than 16 characters: too easy to guess"
        )


def test_what_the_operating_system_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_platform(monkeypatch, tmp_path) as produced:
        produced.send(10)
        produced.settings.lake.write_text("in the way")
        sentence = refusal_of_micro_batch()
    assert f"{tmp_path}/lake" in sentence
    assert sentence.endswith((": Not a directory", ": File exists"))


def test_ctrl_c_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    monkeypatch.setattr("usage_analytics.parts.warehouse", lambda *_: signal.raise_signal(signal.SIGINT))
    with open_instance(tmp_path) as instance, pytest.raises(KeyboardInterrupt):
        close_trading_day(date(2026, 3, 2), instance)


def test_an_error_inside_the_code_is_told_by_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path)
    monkeypatch.setattr("usage_analytics.parts.warehouse", lambda *_: 1 / 0)
    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(UserError, match="trading_day_close of 2026-03-02 failed: ZeroDivisionError: division by zero"),
    ):
        close_trading_day(date(2026, 3, 2), instance)
