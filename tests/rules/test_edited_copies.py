"""An edited copy of an installed pack answers to the original's name, for whoever has not imported that before."""

import importlib
import shutil
import subprocess
import sys

import pytest

from rules.edited_packs import lay_over
from rules.errors import KnowledgeError
from rules.rulebook import BUNDLED

NAME = "dekacard_test_original"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A folder with one module; import paths and modules are put back afterwards."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    folder = tmp_path / "edited"
    folder.mkdir()
    (folder / "numbers_of_ours.py").write_text("LIMIT = 7\n")
    yield folder
    for name in [one for one in sys.modules if one.partition(".")[0] == NAME]:
        del sys.modules[name]


@pytest.mark.parametrize("with_init", [True, False])
def test_the_copy_is_imported_by_the_name_of_the_original(copy, with_init):
    if with_init:
        (copy / "__init__.py").write_text('"""The copy."""\n')
    lay_over({NAME: copy})
    assert importlib.import_module(f"{NAME}.numbers_of_ours").LIMIT == 7
    lay_over({NAME: copy})  # the same once more is no other


def test_what_was_imported_from_elsewhere_is_not_replaced(copy, tmp_path):
    lay_over({NAME: copy})
    importlib.import_module(NAME)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(KnowledgeError, match="a process of its own"):
        lay_over({NAME: other})


def test_nothing_laid_over_changes_no_import():
    before = list(sys.meta_path)
    lay_over({})
    assert sys.meta_path == before


LOADED = """
import sys
from pathlib import Path
from rules.rulebook import load_rulebook
book = load_rulebook(edited=[Path(sys.argv[1])])
print(book.cards["dk-k2-form"].title, "|", sys.modules["rules.packs.education.rules"].__file__)
"""


def test_an_edited_copy_of_a_bundled_pack_takes_its_place_words_and_code(tmp_path):
    folder = tmp_path / "education"
    shutil.copytree(BUNDLED / "education", folder, ignore=shutil.ignore_patterns("__pycache__"))
    cards = folder / "cards.yaml"
    text = cards.read_text(encoding="utf-8")
    title = "title: MK-4 and MK-7"
    assert title in text
    cards.write_text(text.replace(title, "title: Two forms, edited"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(folder)],
        capture_output=True, text=True, timeout=120, check=False, cwd=BUNDLED.parents[1],
    )  # fmt: skip
    assert done.stdout.strip() == f"Two forms, edited | {folder / 'rules.py'}", done.stderr
