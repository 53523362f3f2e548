"""What the command `usage-analytics settings` shows: whole values, no secrets, whether the pieces in C are in use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from usage_analytics.enrichment import scanning
from usage_analytics.ingestion import draining
from usage_analytics.reporting.settings import print_settings
from usage_analytics.reporting.terminal import CONSOLE
from usage_analytics_tests.integration.platform_under_test import clean_environment


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(CONSOLE, "_width", 140)


@pytest.fixture
def without_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (scanning, draining):
        monkeypatch.setattr(module, "__file__", str(tmp_path / "module.py"))
        module.compiled.cache_clear()
    yield
    for module in (scanning, draining):
        module.compiled.cache_clear()


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    """What is printed, without spaces: each cell of the table in one piece, however its lines were broken."""
    print_settings()
    rows: list[list[str]] = []
    rest = ""
    for line in capsys.readouterr().out.splitlines():
        cells = ["".join(cell.split()) for cell in line.strip("│").split("│")]
        if not line.startswith("│"):
            rest += cells[0]
        elif cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [before + after for before, after in zip(rows[-1], cells, strict=True)]
    return "\n".join([*("|".join(row) for row in rows), rest])


def packed(text: str) -> str:
    return text.replace(" ", "")


def test_long_values_are_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / ("a-long-name" * 15)
    monkeypatch.setenv("USAGE_ANALYTICS_HOME", str(home))
    assert f"|{home}|" in shown(capsys)


def test_variables_of_the_kafka_client_are_shown_but_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert packed("none of KAFKA_SECURITY_…, KAFKA_SASL_… is set") in shown(capsys)
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hidden-1")
    monkeypatch.setenv("KAFKA_SSL_KEY_PEM", "hidden-2")
    monkeypatch.setenv("KAFKA_SASL_OAUTHBEARER_CONFIG", "hidden-3")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "SharedAccessKey=hidden-4")
    monkeypatch.setenv("KAFKA_OPTS", "-Xmx1g")
    told = shown(capsys)
    assert packed("KAFKA_SECURITY_PROTOCOL | SASL_SSL | passed to the Kafka client as security.protocol") in told
    for name in ("SASL_PASSWORD", "SSL_KEY_PEM", "SASL_OAUTHBEARER_CONFIG", "SASL_USERNAME"):
        assert f"KAFKA_{name}|(set)|" in told
    assert "hidden" not in told and "KAFKA_OPTS" not in told and "isset" not in told


def test_it_says_that_the_pieces_in_c_are_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    if scanning.compiled() is None or draining.compiled() is None:
        pytest.skip("not compiled: no C compiler was there at installation")
    assert packed("Both pieces in C are in use: scan (judges messages) and drain (reads Kafka)") in shown(capsys)


def test_it_says_what_to_do_where_they_are_not(without_pieces: None, capsys: pytest.CaptureFixture[str]) -> None:
    told = shown(capsys)
    assert (
        packed("scan: messages are judged by SQL alone, which is slower; drain: messages are read one by one") in told
    )
    assert packed("Remedy: install a C compiler (Debian: gcc libc6-dev), then: make clean, and make demo") in told
