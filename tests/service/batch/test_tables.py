"""Parquet and SQL as inputs, results as tables: the same answers, and a clear word where DuckDB is not there."""

import json
import subprocess
import sys

import duckdb
import pytest

from rules.errors import RequestError
from service.batch.run import Run
from service.batch.tables import copy_parquet, copy_query, write_tables
from tests.service.batch.people import AS_OF, bundle, patient, population, statement, write_bundles
from tests.service.batch.test_inputs import ROOT
from tests.service.batch.test_review import options, rejects, results, rows

SAME = ["DetectedIssue.ndjson", "recommendations.csv"]


def command(*arguments, stdin=b"", python=()):
    return subprocess.run(
        [sys.executable, *(python or ("-m", "service.cli")), "review", *map(str, arguments), "--as-of", AS_OF, "--workers", "1", "--quiet"],
        input=stdin, capture_output=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip


def everything():
    people, shared = population(6)
    return [*shared, *(one for own in people.values() for one in own)]


@pytest.fixture
def expected(tmp_path):
    folder = write_bundles(tmp_path / "expected-in", *population(6))
    Run(tmp_path / "expected").review([folder], options())
    return results(tmp_path / "expected", SAME)


def stored(path, resources, indent=None):
    """A DuckDB file and a Parquet file with one row for each resource."""
    with duckdb.connect(str(path)) as opened:
        opened.execute("CREATE TABLE landed (kind VARCHAR, resource JSON)")
        rows_ = [[one["resourceType"], json.dumps(one, indent=indent)] for one in resources]
        opened.executemany("INSERT INTO landed VALUES (?, ?)", rows_)
        opened.execute(f"COPY landed TO '{path.with_suffix('.parquet')}' (FORMAT parquet)")
    return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("way", ["parquet", "query", "query of parquet"])
def test_rows_of_resources_say_the_same(tmp_path, expected, way, indent):
    database = stored(tmp_path / "lake.duckdb", everything(), indent)
    parquet = database.with_suffix(".parquet")
    given = {
        "parquet": [parquet],
        "query": ["--sql", "FROM landed SELECT resource ORDER BY kind", "--sql-database", database],
        "query of parquet": ["--sql", f"SELECT resource FROM '{parquet}' WHERE kind <> 'Encounter'"],
    }[way]  # fmt: skip
    done = command(*given, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out", SAME) == expected
    assert not (tmp_path / "out" / ".copied").exists()


def test_a_row_without_a_resource_is_a_reject_by_its_number(tmp_path):
    query = "SELECT * FROM (VALUES (1, NULL), (2, '{\"resourceType\":')) AS made (number, resource)"
    done = command("--sql", query, "--out", tmp_path / "out")
    assert done.returncode == 12, done.stderr
    told = [(one["file"], one["line"], one["code"]) for one in rejects(tmp_path / "out")]
    assert told == [("query-1.ndjson", 1, "no-resource"), ("query-1.ndjson", 2, "not-json")]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1 AS a, 2 AS b", "must be called 'resource'"),
        ("SELECT {'resourceType': 'Patient'} AS resource", "must hold each resource as JSON text"),
        ("SELECT resource FROM nowhere", "DuckDB refuses"),
        ("SELECT", "DuckDB refuses"),
    ],
)
def test_a_query_that_gives_no_resources_is_refused_with_its_reason(tmp_path, query, said):
    with pytest.raises(RequestError, match=said):
        copy_query(query, None, tmp_path / "copy")


def test_the_only_column_of_a_query_may_have_any_name(tmp_path):
    copy_query("SELECT '{}' AS body", None, tmp_path / "copy")
    assert (tmp_path / "copy").read_text().strip() == "{}"


def test_a_file_that_is_no_parquet_is_told(tmp_path):
    (tmp_path / "x.parquet").write_text("nonsense")
    with pytest.raises(RequestError, match=r"x\.parquet: DuckDB refuses"):
        copy_parquet(tmp_path / "x.parquet", tmp_path / "copy")
    with pytest.raises(RequestError, match="no such database"):
        copy_query("SELECT 1", tmp_path / "gone.duckdb", tmp_path / "copy")


def asked(database, query):
    with duckdb.connect(str(database), read_only=True) as opened:
        return opened.execute(query).fetchall()


@pytest.mark.parametrize("parquet", [True, False])
def test_results_as_tables(tmp_path, parquet):
    people, shared = population(6)
    people["=cmd"] = [
        patient("=cmd"),
        statement("=cmd", None, 1, words="Vitamin D3 50000 IU daily"),
    ]
    folder = write_bundles(tmp_path / "in", people, shared)
    (folder / "bad.json").write_text("{")
    account = Run(tmp_path / "out").review([folder], options())
    if not parquet:
        (tmp_path / "out" / "recommendations.parquet").unlink()
    database = tmp_path / "results.duckdb"
    write_tables(tmp_path / "out", database)
    found = asked(database, "SELECT patient, rule, len(sources) FROM recommendations")
    table = rows(tmp_path / "out")
    assert [one[:2] for one in found] == [
        (row["patient"].removeprefix("'"), row["rule"]) for row in table
    ]
    assert [one[2] for one in found] == [len(row["sources"].split()) for row in table]
    assert dict(asked(database, "FROM firings")) == account.told["firings"]
    assert asked(database, "SELECT file, line, code FROM rejects") == [("bad.json", 0, "not-json")]
    gaps = (tmp_path / "out" / "gaps.ndjson").read_text().splitlines()
    assert asked(database, "SELECT count(*) FROM gaps") == [(len(gaps),)]
    assert asked(database, "SELECT count(*) FROM inputs") == [(8,)]
    assert ("as_of", AS_OF) in asked(database, "FROM run")


def test_the_command_writes_tables_and_never_over_something(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(2))
    target = tmp_path / "results.duckdb"
    assert command(folder, "--out", tmp_path / "a", "--tables", target).returncode == 0
    assert asked(target, "SELECT count(*) FROM recommendations") != [(0,)]
    again = command(folder, "--out", tmp_path / "b", "--tables", target)
    assert again.returncode == 5
    assert b"not written over" in again.stderr
    assert not (tmp_path / "b" / "run.json").exists()


def test_without_the_extra_the_remedy_is_told(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(bundle([patient("ada")])))
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    hidden = "import sys; sys.modules['duckdb'] = None; from service.cli import main; main()"
    for arguments in (
        [tmp_path / "x.parquet"],
        ["--sql", "SELECT 1"],
        [tmp_path / "one.json", "--tables", tmp_path / "t.duckdb"],
    ):
        done = command(*arguments, "--out", tmp_path / "out", python=("-c", hidden))
        assert done.returncode == 5
        assert b"pip install 'dekacard[sql]'" in done.stderr
    done = command(tmp_path / "one.json", "--out", tmp_path / "out", python=("-c", hidden))
    assert done.returncode == 0, done.stderr
