"""A pack is read strictly: what is misspelt, doubled or unfounded stops the start-up, with its place."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from rules.errors import KnowledgeError
from rules.knowledge import CardModel, CitationModel, FindingModel, Parameter, ParameterValue
from rules.pack_folder import digest_of, open_pack
from rules.yaml_files import line_of, read_yaml


def test_a_doubled_key_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("a: 1\nb:\n  c: 1\n  c: 2\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match=r"parameters\.yaml:4: the key 'c' stands twice"):
        read_yaml(file)


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "cards.yaml"
    file.write_text("a: 1\nb: [1, 2\nc: 3\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match=r"cards\.yaml:3: not readable as YAML"):
        read_yaml(file)


def test_a_key_that_is_no_plain_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("? [1, 2]\n: 3\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match="not a plain value"):
        read_yaml(file)


def test_yaml_cannot_build_python_objects(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: !!python/object/apply:os.system ['true']\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match="not readable as YAML"):
        read_yaml(file)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("", encoding="utf-8")
    assert read_yaml(tmp_path / "x.yaml") == {}


def test_on_and_no_are_words_and_not_truth_values(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("on: no\nyes: true\nday: 2024-01-02\n", encoding="utf-8")
    assert read_yaml(tmp_path / "x.yaml") == {"on": "no", "yes": True, "day": date(2024, 1, 2)}


def test_line_of_finds_a_top_level_key(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: 1\n'b': 2\n", encoding="utf-8")
    assert line_of(tmp_path / "x.yaml", "b") == 2
    assert line_of(tmp_path / "x.yaml", "zz") == 1


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("parameters.yaml", "cite: someone-2020}", "cites: someone-2020}", "is not a known key"),
        ("parameters.yaml", ", cite: someone-2020}", "}", "needs 'cite', or 'basis'"),
        ("parameters.yaml", ", rationale: lowered for the test", "", "needs a 'rationale'"),
        ("cards.yaml", "topic_code: TINYHIGH", "topic_code: tiny-high", "capital letters"),
        (
            "cards.yaml",
            "{is: warning}]",
            "{when: severe, is: warning}]",
            "must hold without 'when'",
        ),
        ("cards.yaml", "{when: severe, is: critical}", "{is: critical}", "only the last line"),
        ("cards.yaml", "  limits: none known\n", "", "Field required"),
        ("findings.yaml", "number?", "decimal", "is no type"),
        ("findings.yaml", "steady: boolean", "about: text", "name of the finding itself"),
        ("actions.yaml", "kind: task", "kind: prescription", "Input should be"),
        ("pack.toml", 'owner = "nobody"', "", "Field required"),
        ("pack.toml", 'owner = "nobody"', "owner = ", "not readable as TOML"),
        (
            "citations.yaml",
            "someone-2020: {title: A study, ",
            "someone-2020: {titel: A study, ",
            "titel",
        ),
        ("rules.py", "@rule(", "@role(", "cannot be imported: NameError"),
    ],
)
def test_a_pack_with_one_mistake_is_refused_with_its_place(tiny_pack, file, old, new, says) -> None:
    path = tiny_pack / file
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(KnowledgeError) as refused:
        open_pack(tiny_pack)
    assert says in str(refused.value)
    assert file in refused.value.where


def test_a_folder_without_head_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError, match=r"it has no pack\.toml"):
        open_pack(tmp_path)


def test_a_file_that_is_a_list_is_refused(tiny_pack: Path) -> None:
    (tiny_pack / "actions.yaml").write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(KnowledgeError, match="must be a mapping"):
        open_pack(tiny_pack)


def test_the_digest_follows_content_and_names_but_not_caches(tiny_pack: Path) -> None:
    first = digest_of(tiny_pack)
    (tiny_pack / "__pycache__").mkdir(exist_ok=True)
    (tiny_pack / "__pycache__" / "rules.pyc").write_bytes(b"x")
    assert digest_of(tiny_pack) == first
    (tiny_pack / "texts.yaml").write_text("a: 1\n", encoding="utf-8")
    second = digest_of(tiny_pack)
    assert second != first
    (tiny_pack / "texts.yaml").rename(tiny_pack / "text.yaml")
    assert digest_of(tiny_pack) != second


def test_a_changed_pack_is_imported_anew(tiny_pack: Path) -> None:
    before = open_pack(tiny_pack)
    path = tiny_pack / "rules.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace("tiny-advice", "tiny-hint"), encoding="utf-8"
    )
    after = open_pack(tiny_pack)
    assert {rule.name for rule in before.rules} ^ {rule.name for rule in after.rules} == {
        "tiny-advice",
        "tiny-hint",
    }


# In force on a day ---------------------------------------------------------------------------------------------


def parameter() -> Parameter:
    rest = {"basis": "project-policy", "rationale": "test"}
    return Parameter(
        title="t",
        unit="ug/d",
        values={
            date(2020, 1, 1): ParameterValue(value=50, **rest),
            date(2024, 1, 1): ParameterValue(value=10, cite="a-2024", says="sentence"),
            date(2030, 1, 1): ParameterValue(value=None, **rest),
        },
    )


@pytest.mark.parametrize(
    ("day", "value"),
    [
        (date(2019, 12, 31), None),
        (date(2020, 1, 1), 50),
        (date(2023, 12, 31), 50),
        (date(2024, 1, 1), 10),
        (date(2029, 12, 31), 10),
        (date(2030, 1, 1), None),
    ],
)
def test_a_value_is_in_force_from_its_day_until_the_next(day, value) -> None:
    held = parameter().in_force("p", day, "nam-2011")
    assert (held.value if held else None) == value


def test_a_value_in_force_carries_its_source() -> None:
    held = parameter().in_force("p", date(2026, 1, 1), "nam-2011")
    assert held is not None
    assert (held.name, held.unit, held.since, held.cite, held.says) == (
        "p",
        "ug/d",
        date(2024, 1, 1),
        "a-2024",
        "sentence",
    )


def test_a_parameter_needs_values_or_profiles_but_not_both() -> None:
    value = {date(2020, 1, 1): ParameterValue(value=1, cite="x")}
    with pytest.raises(ValidationError, match="either"):
        Parameter(title="t")
    with pytest.raises(ValidationError, match="either"):
        Parameter(title="t", values=value, profiles={"nam-2011": value})


def test_a_profile_without_the_band_has_no_value() -> None:
    value = {date(2020, 1, 1): ParameterValue(value=1, cite="x")}
    banded = Parameter(title="t", profiles={"nam-2011": value})
    assert banded.in_force("p", date(2026, 1, 1), "endo-2024") is None


# Citations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "address"),
    [
        ({"doi": "10.1/x", "pmid": "1", "url": "https://example.org"}, "https://doi.org/10.1/x"),
        ({"pmid": "1", "url": "https://example.org"}, "https://pubmed.ncbi.nlm.nih.gov/1/"),
        ({"url": "https://example.org"}, "https://example.org"),
        ({}, ""),
    ],
)
def test_a_citation_is_read_at_its_doi_first(held, address) -> None:
    assert CitationModel(title="T", verified=False, **held).address == address


def test_the_label_of_a_citation_is_one_line() -> None:
    held = CitationModel(authors="A B et al.", title="T.", journal="J", year=2020, verified=True)
    assert held.label == "A B et al. T. J. 2020"


def test_models_are_immutable() -> None:
    model = FindingModel(title="t", says="s")
    with pytest.raises(ValidationError):
        model.title = "other"
    assert CardModel.model_config["extra"] == "forbid"
