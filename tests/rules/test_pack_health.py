"""Over all bundled packs: everything is cited or reasoned, used, told as a story, and said in plain words."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from rules.conclusions import bound_aliases
from rules.conditions import Binding
from rules.engine import Engine
from rules.knowledge import PLACEHOLDER
from rules.rulebook import BUNDLED, load_rulebook
from rules.vignettes import read_expectation, stories_of

RULEBOOK = load_rulebook()
PACKS = {pack.head.id: pack for pack in RULEBOOK.packs}
RULES = sorted(RULEBOOK.rules)
CARDS = sorted(RULEBOOK.cards)
SPEAKING = sorted(name for name, rule in RULEBOOK.rules.items() if not rule.silent)
STORIES = stories_of(RULEBOOK, BUNDLED)
SOURCES = {path: path.read_text(encoding="utf-8") for path in sorted(BUNDLED.rglob("*.py"))}
CODE = "\n".join(SOURCES.values())
YAML = "\n".join(
    path.read_text(encoding="utf-8")
    for path in sorted(BUNDLED.rglob("*.yaml"))
    if path.parent.name not in {"codes", "vignettes"}
)


# Numbers and sources ------------------------------------------------------------------------------------------------


def test_every_parameter_names_a_known_source_and_the_day_of_its_next_review():
    for name, parameter in RULEBOOK.parameters.items():
        assert parameter.review_due is not None, f"{name} has no review_due"
        for dated in (parameter.values, *parameter.profiles.values()):
            for day, value in dated.items():
                assert value.cite is None or value.cite in RULEBOOK.citations, (
                    f"{name} {day}: {value.cite}"
                )
                assert value.cite is None or value.says, f"{name} {day}: what does the source say?"


def test_every_citation_is_used_and_every_used_one_is_known():
    used = {key for card in RULEBOOK.cards.values() for key in card.cites}
    for parameter in RULEBOOK.parameters.values():
        for dated in (parameter.values, *parameter.profiles.values()):
            used |= {value.cite for value in dated.values() if value.cite}
    claims = yaml.safe_dump(RULEBOOK.claims)
    used |= {
        key
        for key in RULEBOOK.citations
        if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", claims)
    }
    assert used == set(RULEBOOK.citations)


def test_a_source_that_was_not_seen_says_so():
    for key, citation in RULEBOOK.citations.items():
        assert citation.verified or citation.note, f"{key} is unverified without a note"
        assert citation.doi or citation.pmid or citation.url or citation.journal or citation.note, (
            key
        )


def test_every_parameter_is_consulted():
    """By its name, or by a name put together in code (``k.floor.{form}``)."""
    built = [re.sub(r"\{[^}]*\}", ".+", re.escape(name).replace(r"\{", "{").replace(r"\}", "}"))
             for name in re.findall(r'f"([a-z0-9.-]+[^"]*\{[^"]*)"', CODE)]  # fmt: skip
    # a parameter may name the table in use (``profile.ul``): its sisters are the choices a hospital has
    named = {
        str(value.value).rpartition(".")[0]
        for one in RULEBOOK.parameters.values()
        for value in one.values.values()
    }
    for name in RULEBOOK.parameters:
        literal = f'"{name}"' in CODE or re.search(
            rf"(parameter|repeat_after): {re.escape(name)}\b", YAML
        )
        chosen = name.startswith("suppression.") or name.rpartition(".")[0] in named
        assert literal or chosen or any(re.fullmatch(one, name) for one in built), (
            f"nothing consults {name}"
        )


# Rules and cards ----------------------------------------------------------------------------------------------------


def test_every_speaking_rule_has_a_card_and_every_card_a_rule():
    assert CARDS == SPEAKING


def test_topic_codes_are_given_once():
    codes = Counter(card.topic_code for card in RULEBOOK.cards.values())
    assert max(codes.values()) == 1


@pytest.mark.parametrize("name", CARDS)
def test_a_card_refers_only_to_what_there_is(name):
    card, rule = RULEBOOK.cards[name], RULEBOOK.rules[name]
    made = {one for derivation in RULEBOOK.derivations for one in derivation.gives}
    made |= {one for other in RULEBOOK.rules.values() for one in other.infers}
    for choice in (*card.indicator, *card.suggests, *card.yields_to):
        assert choice.when is None or choice.when in made, f"nothing finds {choice.when}"
    assert {choice.action for choice in card.suggests} <= set(RULEBOOK.actions)
    assert {choice.rule for choice in card.yields_to} <= set(RULEBOOK.rules)
    assert set(card.override_reasons) <= set(RULEBOOK.override_reasons)
    assert card.repeat_after is None or card.repeat_after in RULEBOOK.parameters
    aliases = set(bound_aliases(rule))
    assert {place.partition(".")[0] for place in card.changes_with} <= aliases


@pytest.mark.parametrize("name", CARDS)
def test_a_card_shows_limits_population_and_what_missing_data_do(name):
    card = RULEBOOK.cards[name]
    assert all(
        words.strip()
        for words in (card.why, card.limits, card.population, card.missing_data, card.intent)
    )
    assert card.options, "options, not orders"
    assert card.cites or card.certainty in {"very-low", "label", "low", "high"}
    assert card.override_reasons, "a card that cannot be declined"


def test_what_is_declared_is_used():
    suggested = {choice.action for card in RULEBOOK.cards.values() for choice in card.suggests}
    assert suggested == set(RULEBOOK.actions)
    reasons = {code for card in RULEBOOK.cards.values() for code in card.override_reasons}
    assert reasons == set(RULEBOOK.override_reasons)
    made = {one for derivation in RULEBOOK.derivations for one in derivation.gives}
    made |= {one for rule in RULEBOOK.rules.values() for one in rule.infers}
    assert made == set(RULEBOOK.findings)


def test_nothing_is_signed_that_no_clinician_signed():
    for pack in RULEBOOK.packs:
        assert pack.head.status == "draft"
        assert all(card.reviewed is None for card in pack.cards.values())
        for parameter in pack.parameters.values():
            for dated in (parameter.values, *parameter.profiles.values()):
                assert all(value.reviewed is None for value in dated.values())


@pytest.mark.parametrize(
    "name", sorted(name for name in CARDS if RULEBOOK.cards[name].interaction is not None)
)
def test_an_interaction_answers_all_ten_questions(name):
    assert all(
        str(answer).strip() for answer in RULEBOOK.cards[name].interaction.model_dump().values()
    )


@pytest.mark.parametrize("pack", ["vitamin-k-antagonists", "interactions"])
def test_the_packs_on_interactions_hold_an_interaction_record_for_their_drugs(pack):
    with_record = [name for name, card in PACKS[pack].cards.items() if card.interaction is not None]
    if pack == "vitamin-k-antagonists":
        assert sorted(with_record) == sorted(PACKS[pack].cards)
    assert with_record


# Stories ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPEAKING)
def test_every_rule_is_told_speaking_and_silent(name):
    own = [story for story in STORIES if Path(story.where.rpartition(":")[0]).stem == name]
    speaking = [
        s for s in own if any(read_expectation(line, s.where).rule == name for line in s.expect)
    ]
    assert speaking, f"no story in vignettes/{name}.yaml lets it speak"
    assert len(own) > len(speaking), f"no story in vignettes/{name}.yaml keeps it silent"


def test_no_story_names_a_rule_that_is_not_there():
    for story in STORIES:
        for line in story.expect:
            assert read_expectation(line, story.where).rule in RULEBOOK.rules, story.where


# Words --------------------------------------------------------------------------------------------------------------

ABBREVIATED = re.compile(r"(?<![\w\[])(IU|U|I\.U\.|µg|μg|ug|mcgs)(?![\w\]])")


def _for_people() -> dict[str, str]:
    texts = {}
    for name, card in RULEBOOK.cards.items():
        said = [
            card.title,
            card.summary,
            card.why,
            *card.options,
            card.limits,
            card.population,
            card.missing_data,
        ]
        said += [*card.not_implemented, card.intent]
        said += [
            str(one) for one in (card.interaction.model_dump().values() if card.interaction else ())
        ]
        texts[f"card {name}"] = "\n".join(said)
    for name, action in RULEBOOK.actions.items():
        texts[f"action {name}"] = f"{action.label}\n{action.description}"
    for name, finding in RULEBOOK.findings.items():
        texts[f"finding {name}"] = "\n".join(
            [finding.title, finding.says, *finding.absent.values()]
        )
    for name, reason in RULEBOOK.override_reasons.items():
        texts[f"reason {name}"] = reason.display
    for name, parameter in RULEBOOK.parameters.items():
        values = [
            v for dated in (parameter.values, *parameter.profiles.values()) for v in dated.values()
        ]
        texts[f"parameter {name}"] = "\n".join(
            [parameter.title, *(f"{v.says} {v.rationale} {v.limits}" for v in values)]
        )
    texts["texts"] = yaml.safe_dump(RULEBOOK.texts, allow_unicode=True)
    return texts


@pytest.mark.parametrize(
    ("place", "words"), _for_people().items(), ids=lambda value: value if len(value) < 60 else "-"
)
def test_people_read_no_dangerous_abbreviation(place, words):
    found = ABBREVIATED.search(words)
    assert found is None, f"{place}: {found and found.group()}"


def test_the_lint_on_abbreviations_would_notice_them():
    assert all(ABBREVIATED.search(words) for words in ("5,000 IU a day", "100 ug", "10 µg", "20 U"))
    assert not any(
        ABBREVIATED.search(words)
        for words in ("100 mcg", "international units", "UK guidance", "drug")
    )


@pytest.mark.parametrize("name", CARDS)
def test_a_critical_card_states_options_and_gives_no_order(name):
    card = RULEBOOK.cards[name]
    if not any(choice.is_ == "critical" for choice in card.indicator):
        return
    assert len(card.options) > 1
    first = card.summary.split()[0].lower()
    assert first not in {"stop", "hold", "give", "withhold", "discontinue"}
    assert not re.search(r"\b(must|immediately)\b", card.summary.lower())


@pytest.fixture(scope="module")
def told():
    """Every recommendation that any story brings forth, whether superseded in another or not."""
    engine = Engine(RULEBOOK, matcher="compiled")
    answers = [engine.assess(s.facts, as_of=s.as_of, today=s.today) for s in STORIES]
    return [
        (story, one)
        for story, answer in zip(STORIES, answers, strict=True)
        for one in answer.recommendations
    ]


def test_no_summary_is_too_long_for_a_card(told):
    for story, one in told:
        assert len(one.summary.encode("utf-16-le")) // 2 < 140, f"{story.where}: {one.summary}"


def test_what_is_shown_holds_no_abbreviation_no_placeholder_and_its_disclaimer_exists(told):
    assert "Does not replace clinical judgement" in RULEBOOK.texts["disclaimer"]
    for story, one in told:
        shown = "\n".join([one.summary, one.why, *one.options, one.limits, *one.missing])
        shown = re.sub(r"“[^”]*”", "", shown)  # what the record itself says is quoted as it is
        assert not ABBREVIATED.search(shown), f"{story.where}: {shown}"
        assert "{" not in shown, f"{story.where}: {shown}"


def test_summaries_hold_no_free_text():
    for name, card in RULEBOOK.cards.items():
        bound = {
            part.alias: part.pattern.kind
            for part in RULEBOOK.rules[name].condition
            if isinstance(part, Binding)
        }
        for alias, field in PLACEHOLDER.findall(card.summary):
            kind = bound[alias].removeprefix("finding:")
            if field and kind in RULEBOOK.findings:
                assert RULEBOOK.findings[kind].fields[field].rstrip("?") != "text", (
                    f"{name}: {{{alias}.{field}}}"
                )


# Code of the packs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.name == "rules.py"], ids=lambda p: p.parent.name
)
def test_no_number_stands_in_a_rule(path):
    tree = ast.parse(SOURCES[path])
    numbers = [
        node.lineno for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)
    ]  # fmt: skip
    assert numbers == []


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.name == "rules.py"], ids=lambda p: p.parent.name
)
def test_no_condition_is_written_in_a_shape_that_python_changes_silently(path):
    for node in ast.walk(ast.parse(SOURCES[path])):
        assert not isinstance(node, ast.BoolOp), (
            f"{path.name}:{getattr(node, 'lineno', 0)}: and, or"
        )
        assert not (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)), "not"
        assert not (isinstance(node, ast.Compare) and len(node.ops) > 1), "chained comparison"


@pytest.mark.parametrize("path", list(SOURCES), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_packs_know_no_fhir_no_web_no_clock(path):
    for node in ast.walk(ast.parse(SOURCES[path])):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in {
                "__future__",
                "rules",
                "collections",
                "datetime",
                "typing",
                "dataclasses",
                "statistics",
                "itertools",
                "math",
            }, name
    assert not re.search(r"\b(today|now|utcnow)\(\)", SOURCES[path])
