"""What an installation can be missing is found and said: foreign files, an old Python, packs past their review, clients."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from service.cli import Exit, app
from service.installation import OWN_PACKAGES, foreign_files, refuse_clashes
from tests.service.trust.conftest import written_profile

ROOT = Path(__file__).parents[2]


def doctor():
    return CliRunner().invoke(app, ["doctor"])


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """An environment in which a wheel of ours is installed, with one module in each package."""
    records = []
    for package in OWN_PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("ours = 1\n")
        records.append(f"{package}/__init__.py,,{len('ours = 1') + 1}")
    (tmp_path / "rules" / "generated.py").write_text("anything")
    records.append("rules/generated.py,,")  # a wheel need not state a size
    told = tmp_path / "dekacard-99.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: dekacard\nVersion: 99.0\n")
    (told / "RECORD").write_text("\n".join(records) + "\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_files_that_our_wheel_brought_are_ours(wheel):
    assert foreign_files() == []
    refuse_clashes()


def test_a_file_of_another_distribution_stops_the_service_and_is_named(wheel):
    (wheel / "rules" / "other.py").write_text("")
    (wheel / "service" / "__init__.py").write_text("theirs, and longer")
    assert foreign_files() == ["rules/other.py", "service/__init__.py"]
    with pytest.raises(KnowledgeError, match=r"rules/other\.py, service/__init__\.py"):
        refuse_clashes()


def test_the_doctor_names_files_that_nobody_owns_up_to(wheel):
    (wheel / "rules" / "other.py").write_text("")
    told = doctor()
    assert told.exit_code == Exit.NOT_HEALTHY
    assert "files that dekacard did not bring lie in its packages: rules/other.py" in told.output
    assert "--force-reinstall" in told.output


def test_a_wheel_without_a_list_of_files_is_taken_as_it_is(wheel):
    (wheel / "dekacard-99.0.dist-info" / "RECORD").unlink()
    (wheel / "rules" / "other.py").write_text("")
    assert foreign_files() == []


def test_an_old_python_is_named_with_the_one_to_use(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    from service.doctor import _python

    (found,) = _python()
    assert (found.state, found.what) == ("bad", "Python 3.10.4")
    assert "3.11" in found.remedy


def test_a_pack_that_was_signed_is_good_and_a_rule_past_its_review_is_named(monkeypatch, tmp_path):
    pack = tmp_path / "st_elsewhere_pack"
    elsewhere = ROOT / "examples" / "st_elsewhere" / "st_elsewhere_pack"
    shutil.copytree(elsewhere, pack, ignore=shutil.ignore_patterns("__pycache__"))
    head, cards = pack / "pack.toml", pack / "cards.yaml"
    head.write_text(head.read_text().replace('status = "draft"', 'status = "reviewed"'))
    cards.write_text(
        cards.read_text(encoding="utf-8").replace("review_due: 2027", "review_due: 2020")
    )
    monkeypatch.setenv(
        "DEKACARD_PACKS",
        ",".join([*(one.head.id for one in load_rulebook().packs), "st-elsewhere"]),
    )
    monkeypatch.setenv("DEKACARD_PACK_DIRS", str(pack))
    from service.doctor import _knowledge

    found = list(_knowledge())
    assert [one.state for one in found if one.what.startswith("pack st-elsewhere 1.2")] == ["good"]
    assert [one.state for one in found if one.what.startswith("pack core ")] == ["attention"]
    (late,) = [one for one in found if "past their review date" in one.what]
    assert late.what.endswith(": ste-warfarin-strong-vitamin-d")
    assert "reviewed and review_due" in late.remedy


def test_the_doctor_says_how_far_each_client_reaches(monkeypatch, tmp_path):
    for name, accepts in (("one", True), ("two", False)):
        profile = written_profile(
            id=name, rules={"mode": "shadow", "accept_draft": accepts}, trust__issuers=[f"https://{name}.example.org"]
        )  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(profile))
    monkeypatch.setenv("DEKACARD_CLIENTS", str(tmp_path))
    told = doctor()
    assert told.exit_code == Exit.DONE, told.output
    assert "client one: rules shadow, accepts drafts" in told.output
    assert "client two: rules shadow, reviewed rules only" in told.output


def test_a_profile_that_cannot_be_read_makes_an_installation_unfit(monkeypatch, tmp_path):
    (tmp_path / "one.yaml").write_text("id: [")
    monkeypatch.setenv("DEKACARD_CLIENTS", str(tmp_path))
    told = doctor()
    assert told.exit_code == Exit.NOT_HEALTHY
    assert "one.yaml" in told.output
