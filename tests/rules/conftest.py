"""A small pack written to disk, for tests of the machinery that reads packs."""

from pathlib import Path

import pytest

HEAD = """
id = "tiny"
title = "A tiny pack"
version = "2026.11.1"
owner = "nobody"
status = "draft"
"""
PARAMETERS = """
tiny.limit:
  title: Limit of the tiny pack
  unit: ug/d
  values:
    2020-01-01: {value: 50, cite: someone-2020}
    2024-01-01: {value: 10, basis: project-policy, rationale: lowered for the test}
    2030-01-01: {value: null, basis: project-policy, rationale: ended}
tiny.band:
  title: A band that only one profile has
  unit: ng/mL
  profiles:
    nam-2011:
      2020-01-01: {value: {ng/mL: 12, nmol/L: 30}, cite: someone-2020}
suppression.info: {title: t, unit: d, values: {2020-01-01: {value: 90, basis: project-policy, rationale: r}}}
suppression.warning: {title: t, unit: d, values: {2020-01-01: {value: 30, basis: project-policy, rationale: r}}}
suppression.critical: {title: t, unit: d, values: {2020-01-01: {value: 7, basis: project-policy, rationale: r}}}
suppression.lasting-reasons:
  title: t
  values: {2020-01-01: {value: [data-wrong], basis: project-policy, rationale: r}}
tiny.repeat: {title: t, unit: d, values: {2020-01-01: {value: 365, basis: project-policy, rationale: r}}}
"""
FINDINGS = """
taken:
  title: Taken
  says: "{about} at {dose}"
  fields: {dose: "number?", steady: boolean}
  units: {dose: ug/d}
  absent: {dose: dose not recorded}
severe: {title: Severe, says: severe}
advice: {title: Advice, says: "advice wanted about {about}"}
"""
CARD = """
  version: 2026.11.1
  intent: a test
  certainty: low
  cites: [someone-2020]
  limits: none known
  population: everybody
  missing_data: nothing is said
  review_due: 2027-11-22
"""
CARDS = f"""
tiny-high:
  topic_code: TINYHIGH
  title: Much is taken
  indicator: [{{when: severe, is: critical}}, {{is: warning}}]
  summary: "{{k}} at {{k.dose}}."
  why: "More than the limit."
  override_reasons: [data-wrong]
  suggests: [{{action: tiny-task}}, {{action: tiny-delete}}, {{action: tiny-link, when: severe}}]
  changes_with: [k.dose]
{CARD}
tiny-any:
  topic_code: TINYANY
  title: Something is taken
  indicator: [{{is: info}}]
  summary: "{{k}} at {{k.dose}}."
  why: "It is taken."
  yields_to: [{{rule: tiny-high}}]
  repeat_after: tiny.repeat
{CARD}
tiny-advice:
  topic_code: TINYADVICE
  title: Advice
  indicator: [{{is: info}}]
  education: true
  hooks: [patient-view]
  summary: "Advice about {{a}}."
  why: "Because."
{CARD}
"""
ACTIONS = """
tiny-task: {kind: task, label: Ask, description: "Ask about {k}", due: {parameter: tiny.limit}, parts: [{parameter: tiny.limit}, 3]}
tiny-delete: {kind: delete-draft, label: Remove, description: Remove the draft}
tiny-link: {kind: link, label: Read, description: Read more}
"""
RULES = '''
"""Rules of the tiny pack."""
from rules.authoring import c, finding, m, parameter, recommend, rule, when_all


@rule("tiny-high")
@when_all(c.k << finding("taken") & (m.dose > parameter("tiny.limit")))
def high(case):
    return recommend(case.k)


@rule("tiny-any", infers=["advice"])
@when_all(c.k << finding("taken") & (m.steady == False))
def anything(case):
    return recommend(case.k)


@rule("tiny-advice")
@when_all(c.a << finding("advice"))
def advice(case):
    return recommend(case.a)
'''
DERIVATIONS = '''
"""Derivations of the tiny pack."""
from rules.authoring import derivation


@derivation(gives=["taken"])
def taken(e):
    limit = e.parameter("tiny.limit")
    for use in e.uses:
        yield e.finding("taken", use.ingredient, because=[use], parameters=[limit], dose=use.daily,
                        steady=use.status == "steady", missing=() if use.dose_known else ("the dose",))


@derivation(gives=["severe"], requires=["taken"])
def severe(e):
    for condition in e.conditions_of("severe-thing"):
        yield e.finding("severe", because=[condition])
'''


@pytest.fixture
def tiny_pack(tmp_path: Path) -> Path:
    """The folder of a complete small pack, outside the import path."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, content in {
        "pack.toml": HEAD,
        "parameters.yaml": PARAMETERS,
        "findings.yaml": FINDINGS,
        "cards.yaml": CARDS,
        "actions.yaml": ACTIONS,
        "rules.py": RULES,
        "derivations.py": DERIVATIONS,
        "override_reasons.yaml": "data-wrong: {display: The data are wrong, system: https://example.org/reasons}",
        "citations.yaml": "someone-2020: {title: A study, authors: Someone S, year: 2020, doi: 10.1000/1, verified: false}",
        "wording.yaml": 'units: {"ug/d": mcg a day}\nfacts: {use: "{product}{dose:, }", condition: "{title}"}',
    }.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder
