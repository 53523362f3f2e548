"""`usage-analytics query`: a quick look at the warehouse that can change nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from fakes import TOPIC, enriched_chunk
from typer.testing import CliRunner

from usage_analytics import cli, parts
from usage_analytics.errors import UserError
from usage_analytics.settings import load_settings
from usage_analytics_tests.integration.platform_under_test import clean_environment

WINDOW = "2026-11-23T1000"
ALL = "SELECT event_id, latency_ms, trading_day FROM usage_events ORDER BY kafka_offset"


@pytest.fixture
def home(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    clean_environment(monkeypatch, memory_path)
    events = [{"event_id": f"e{n}", "latency_ms": n / 2, "mini_app": 'a, "b"'} for n in range(120)]
    chunk = enriched_chunk(memory_path, WINDOW, 0, 0, events)
    parts.warehouse(load_settings()).load_window(TOPIC, WINDOW, [chunk])
    return memory_path


def ask(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, ["query", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def refusal(*arguments: str) -> str:
    with pytest.raises(UserError) as raised:
        ask(*arguments)
    return str(raised.value)


def test_an_answer_is_a_table(home: Path) -> None:
    shown = ask("SELECT mini_app, count(*) AS events, NULL AS nothing FROM usage_events GROUP BY ALL")
    assert 'a, "b" │ 120 │ -' in " ".join(shown.split()) and "1 rows" in shown
    assert "The first 50 rows; --most shows more, --to writes all into a file" in ask(ALL)
    assert "The first" not in ask(ALL, "--most", "120")


def test_an_answer_is_csv(home: Path) -> None:
    shown = ask("SELECT mini_app, latency_ms, trading_day FROM usage_events WHERE kafka_offset = 3", "--format", "csv")
    assert shown == '"mini_app","latency_ms","trading_day"\n"a, ""b""",1.5,2026-11-23\n'


@pytest.mark.parametrize("name", ["answer.csv", "answer.parquet"])
def test_all_rows_go_into_a_file(home: Path, tmp_path: Path, name: str) -> None:
    assert ask(ALL, "--to", str(tmp_path / name)) == f"{tmp_path / name}: 120 rows\n"
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    assert read(tmp_path / name).get_column("event_id").to_list() == [f"e{n}" for n in range(120)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_columns_of_one_name_are_told_apart_in_parquet_alone(home: Path, tmp_path: Path) -> None:
    doubled = "SELECT 1 AS a, 2 AS a_2, 3 AS a, 4 AS a, 5 AS b"
    assert ask(doubled, "--format", "csv") == '"a","a_2","a","a","b"\n1,2,3,4,5\n'
    assert [word for word in ask(doubled).split() if word in ("a", "a_2", "b")] == ["a", "a_2", "a", "a", "b"]
    ask(doubled, "--to", str(tmp_path / "answer.csv"))
    assert (tmp_path / "answer.csv").read_text() == '"a","a_2","a","a","b"\n1,2,3,4,5\n'
    ask(doubled, "--to", str(tmp_path / "answer.parquet"))
    assert pl.read_parquet(tmp_path / "answer.parquet").to_dicts() == [{"a": 1, "a_2": 2, "a_3": 3, "a_4": 4, "b": 5}]


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("SELECT * FROM nothing", "the warehouse cannot answer: Catalog Error: Table with name nothing does not"),
        ("SELEC 1", "the warehouse cannot answer: Parser Error: syntax error at or near"),
        ("SELECT 1; SELECT 2", "ask one query at a time"),
        ("", "ask one query at a time"),
        ("DELETE FROM usage_events", "that is no query, and questions change nothing"),
        ("DROP TABLE load_ledger", "that is no query, and questions change nothing"),
        ("COPY usage_events TO 'x.csv'", "that is no query, and questions change nothing"),
        ("EXPLAIN ANALYZE DELETE FROM load_ledger", "that is no query, and questions change nothing"),
        ("SELECT * FROM read_csv('/etc/passwd')", "the warehouse cannot answer: Permission Error"),
        ("ATTACH 'other.db'", "that is no query, and questions change nothing"),
        ("SET memory_limit = '90GB'", "that is no query, and questions change nothing"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(home: Path, question: str, told: str) -> None:
    content = load_settings().warehouse.read_bytes()
    assert refusal(question).startswith(told)
    assert load_settings().warehouse.read_bytes() == content


def test_wrong_files_are_named(home: Path, tmp_path: Path) -> None:
    assert refusal(ALL, "--to", "answer.xlsx") == "--to is a file that ends in .csv or .parquet, found 'answer.xlsx'"
    assert refusal(ALL, "--to", str(tmp_path / "none" / "a.csv")).endswith(f"there is no folder {tmp_path / 'none'}")


def test_an_answer_that_somebody_keeps_does_not_stop_the_next(home: Path) -> None:
    warehouse, kept = parts.warehouse(load_settings()), []
    for _ in range(2):  # for ever, where it does
        with warehouse.answered(ALL) as answer:
            kept.append(answer)
            assert answer.read_next_batch().num_rows


def test_before_anything_is_loaded(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, memory_path)
    assert (
        refusal("SELECT 1") == f"there is no warehouse {memory_path / 'warehouse.duckdb'} yet: nothing has been loaded"
    )


READ = "import duckdb, sys; held = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); sys.stdin.read()"


WRITE = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"


def test_while_it_waits_for_a_writer_it_says_so(home: Path) -> None:
    holding = [sys.executable, "-c", WRITE, str(load_settings().warehouse)]
    asking = [sys.executable, "-m", "usage_analytics.cli", "query", "SELECT count(*) AS events FROM usage_events"]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdout.readline()
        with subprocess.Popen(asking, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asker:
            assert asker.stderr is not None
            told = asker.stderr.readline()
            holder.stdin.close()
            answer, rest = asker.communicate()
    place = load_settings().warehouse
    assert told == f"waiting for warehouse {place}, held by process {holder.pid} (60 s at most)\n"
    assert (asker.returncode, rest) == (0, "") and "120" in answer


def test_it_does_not_wait_for_other_readers(home: Path) -> None:
    command = [sys.executable, "-c", READ, str(load_settings().warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdout.readline()
        assert "120" in ask("SELECT count(*) AS events FROM usage_events")
        other.stdin.close()
