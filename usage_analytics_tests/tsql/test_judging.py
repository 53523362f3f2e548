"""The judge of T-SQL: it takes what the pool takes, and names what is wrong with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from usage_analytics_tests.tsql.judging import faults
from usage_analytics_tests.tsql.script_dom import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

STAGED = "CREATE TABLE staging.events (a bigint NOT NULL, b varchar(20) NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)"
GOOD = [
    STAGED,
    "COPY INTO staging.events (a 1, b 2) FROM 'https://x.dfs.core.windows.net/lake/1.parquet' "
    "WITH (FILE_TYPE = 'PARQUET', CREDENTIAL = (IDENTITY = 'Managed Identity')) OPTION (LABEL = 'load')",
    "CREATE TABLE s.day WITH (DISTRIBUTION = HASH(a, b), CLUSTERED COLUMNSTORE INDEX ORDER (a), "
    "PARTITION (d RANGE RIGHT FOR VALUES ('2026-11-23', '2026-11-24'))) "
    "AS SELECT a, b, d FROM s.heap WHERE d = @day OPTION (LABEL = 'close', MAXDOP 1)",
    "ALTER TABLE s.day SWITCH PARTITION 2 TO s.events PARTITION 2 WITH (TRUNCATE_TARGET = ON)",
    "INSERT INTO s.t (a, b) SELECT a, b FROM (SELECT a, b FROM s.u) AS u OPTION (LABEL = 'x')",
    "IF OBJECT_ID('s.t', 'U') IS NOT NULL DROP TABLE s.t",
    "WITH u AS (SELECT a FROM s.t) SELECT a, ROW_NUMBER() OVER (ORDER BY a) AS n FROM u",
    "WITH t AS (SELECT a FROM s.t) SELECT a FROM t",
    "BEGIN TRANSACTION; DELETE FROM s.t WHERE a = 1; INSERT INTO s.t (a) SELECT 1; COMMIT",
    "INSERT INTO s.t (a, b) VALUES (1, 2)",
    "UPDATE STATISTICS s.t",
    "CREATE TABLE #t (a int NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)",
    "CREATE TABLE #t WITH (DISTRIBUTION = HASH(a), HEAP) AS SELECT a FROM s.t",
    "CREATE TABLE s.k (a int NOT NULL, CONSTRAINT k PRIMARY KEY NONCLUSTERED (a) NOT ENFORCED) "
    "WITH (DISTRIBUTION = REPLICATE, HEAP)",
]
BAD = {
    "SELECT a FROM s.t ORDER BY a OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY": "OFFSET and FETCH",
    "SELECT a FROM s.t LIMIT 10": "Incorrect syntax near",
    "DECLARE @t TABLE (a int)": "a table variable",
    "DECLARE c CURSOR FOR SELECT a FROM s.t": "a cursor",
    "INSERT INTO s.t (a) VALUES (1), (2)": "several rows of VALUES",
    "SELECT a FROM (VALUES (1), (2)) AS v (a)": "VALUES as a table",
    "INSERT INTO s.t (a) OUTPUT inserted.a SELECT 1": "OUTPUT",
    "DELETE FROM s.t OUTPUT deleted.a": "OUTPUT",
    "WITH u AS (SELECT 1 AS a) INSERT INTO s.t (a) SELECT a FROM u": "WITH before other than SELECT",
    "WITH u AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM u) SELECT a FROM u": "a recursive WITH",
    "DROP TABLE IF EXISTS s.t": "DROP TABLE IF EXISTS",
    "CREATE TABLE s.t (a int)": "leaves the distribution to chance",
    "CREATE TABLE t (a int) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "without a schema",
    "CREATE TABLE s.t (a nvarchar(max)) WITH (DISTRIBUTION = HASH(a), CLUSTERED COLUMNSTORE INDEX)": "(max)",
    "CREATE TABLE s.t (a int PRIMARY KEY) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "NOT ENFORCED",
    "CREATE TABLE s.t (a int UNIQUE) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "NOT ENFORCED",
    "CREATE TABLE s.t (a datetime2 DEFAULT GETDATE()) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "DEFAULT",
    "CREATE TABLE s.t (a int, b AS a + 1) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "a computed column",
    "CREATE TABLE s.t (a xml) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "the type xml",
    "CREATE TABLE s.t (a ntext) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP)": "the type ntext",
    "BEGIN TRANSACTION; DROP TABLE s.t; COMMIT": "inside a transaction",
    "BEGIN TRANSACTION; SAVE TRANSACTION here; COMMIT": "a savepoint",
    "BEGIN TRANSACTION named; COMMIT": "a named or distributed transaction",
    "SELECT CHOOSE(1, a) FROM s.t": "CHOOSE",
    "SELECT TRANSLATE(a, 'x', 'y') FROM s.t": "TRANSLATE",
    "SELECT @@IDENTITY": "@@IDENTITY",
    "SELECT a FROM s.t WHERE a !> 5": "!>",
    "SELECT a FROM s.t FOR JSON AUTO": "FOR JSON",
    "WAITFOR DELAY '00:00:01'": "WAITFOR",
    "RETURN": "RETURN",
    "USE another": "USE",
    "CREATE UNIQUE INDEX u ON s.t (a)": "a unique index",
    "COPY INTO s.t FROM 'https://x.blob.core.windows.net/1' "
    "WITH (FILE_TYPE = 'PARQUET', CREDENTIAL = (IDENTITY = 'Managed Identity'))": ".dfs.",
    "COPY INTO s.t FROM 'https://x.dfs.core.windows.net/1' WITH (FILE_TYPE = 'PARQUET', COMPRESSION = 'zstd')": "ZSTD",
    "COPY INTO s.t FROM 'https://x.dfs.core.windows.net/1' WITH (FILE_TYPE = 'PARQUET', FIRSTROW = 2)": "for CSV",
    "COPY INTO t FROM 'https://x.dfs.core.windows.net/1' WITH (FILE_TYPE = 'PARQUET')": "without a schema",
    "COPY INTO s.t (a 1) FROM 'https://x.dfs.core.windows.net/1' "
    "WITH (FILE_TYPE = 'PARQUET', AUTO_CREATE_TABLE = 'ON')": "AUTO_CREATE_TABLE",
    "COPY INTO s.t FROM 'https://x' WITH FILE_TYPE = 'PARQUET'": "( was expected",
    "COPY INTO s.t FROM 'https://x' WITH (FILETYPE = 'PARQUET')": "FILETYPE is no option",
    "RENAME OBJECT OBJECT::s.t TO u": "TO was expected",
    "CREATE WORKLOAD GROUP g WITH (IMPORTANCE = HUGE)": "HUGE is no importance",
}


@pytest.mark.parametrize("sql", GOOD, ids=lambda sql: sql[:40])
def test_what_a_pool_takes_is_taken(sql: str) -> None:
    assert faults(sql) == []


@pytest.mark.parametrize(("sql", "why"), BAD.items(), ids=lambda text: text[:40])
def test_what_a_pool_refuses_is_refused_for_its_reason(sql: str, why: str) -> None:
    found = faults(sql)
    assert any(why in str(fault) for fault in found), found


@pytest.fixture
def corpus(shared_data: Path) -> dict[str, str]:
    folder = shared_data.parent / "prototypes" / "tsql_corpus"
    return {path.stem: path.read_text() for path in sorted(folder.glob("*.sql"))}


def test_the_bad_statements_of_the_corpus_are_refused(corpus: dict[str, str]) -> None:
    bad = [name for name in corpus if name.startswith("neg_") or name == "09_rename2"]
    assert len(bad) == 8
    assert [name for name in bad if not faults(corpus[name])] == []


# Statements of the corpus that this platform never sends: materialized views, external tables and result set caching,
# which the judge does not read; DROP TABLE IF EXISTS and a shared access signature at the .dfs. end point, which it
# refuses on purpose.
NOT_OURS = {"02_copy_nocols", "14_mv", "19_cetas", "25_rsc", "30_droptable"}


def test_the_good_statements_of_the_corpus_are_taken(corpus: dict[str, str]) -> None:
    good = {n: sql for n, sql in corpus.items() if not n.startswith("neg_") and n not in {"09_rename2", *NOT_OURS}}
    assert {name: found for name, sql in good.items() if (found := [str(fault) for fault in faults(sql)])} == {}
