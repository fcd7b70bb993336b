"""The cells of the notebook page, run in their order on a master with two worker processes."""

import os
import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from service.batch.run import Run
from service.batch.spark import session
from tests.service.batch.people import population, write_lines
from tests.service.batch.test_review import options, results

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "analysts" / "spark-notebook.md"
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def cells():
    tokens = MarkdownIt().parse(PAGE.read_text())
    return [one.content for one in tokens if one.type == "fence" and one.info == "python"]


@pytest.fixture
def spark(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    made = session("local-cluster[2,1,1024]")
    made.sparkContext.setLogLevel("OFF")
    made.conf.set("spark.sql.shuffle.partitions", "2")
    yield made
    made.stop()


def test_every_cell_runs(tmp_path, spark, capfd):
    people, shared = population(12)
    write_lines(tmp_path / "export", people, shared)
    notebook = {"spark": spark}
    for cell in cells():
        here = cell.replace('"/shared/', f'"{tmp_path}{os.sep}')
        exec(compile(here, PAGE.name, "exec"), notebook)
    said = capfd.readouterr().out
    assert "12 reviewed, 0 of them with context only" in said
    assert "Not part of the data" not in said
    assert notebook["found"].count() == sum(notebook["account"].told["firings"].values()) > 12
    assert notebook["changes"].rules
    Run(tmp_path / "local").review([tmp_path / "export"], options(zone="Europe/Berlin"))
    assert results(tmp_path / "results") == results(tmp_path / "local")
