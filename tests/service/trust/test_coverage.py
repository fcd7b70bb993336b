"""For each client it is known which rules can never speak, and which prefetch key would let them."""

from datetime import date

import pytest
from typer.testing import CliRunner

from rules.rulebook import load_rulebook
from service.cds_hooks.client_profile import ClientProfile
from service.cds_hooks.coverage import Silent, silent_rules, unsent_sources
from service.cds_hooks.discovery import SOURCES
from service.clients_cli import EXIT_REFUSED, app
from service.new_pack import write_pack


@pytest.fixture(scope="module")
def rulebook():
    return load_rulebook()


def profile(*keys, hooks=()) -> ClientProfile:
    """A client that sends these prefetch keys."""
    return ClientProfile.model_validate(
        {
            "id": "x",
            "title": "x",
            "rules": {"mode": "live", "accept_draft": True},
            "prefetch": {key: {"sent_as": [key]} for key in keys},
            "hooks": list(hooks),
        }
    )


def silent(rulebook, *keys, hooks=()):
    return {one.rule: one for one in silent_rules(profile(*keys, hooks=hooks), rulebook)}


def test_with_everything_every_rule_can_speak(rulebook):
    assert silent(rulebook, *SOURCES) == {}
    assert silent(rulebook) == {}  # no prefetch stated: the client follows discovery


def test_a_key_that_is_not_sent_silences_the_rules_that_need_it(rulebook):
    found = silent(rulebook, *(set(SOURCES) - {"inr"}))
    assert found["vka-inr-high-no-otc-k"].missing == ("inr",)
    assert "needs inr" in str(found["vka-inr-high-no-otc-k"])
    assert "vitd-toxic-level" not in found
    assert set(found) < set(rulebook.cards)


def test_a_prescribed_supplement_speaks_without_statements(rulebook):
    found = silent(rulebook, *(set(SOURCES) - {"medicationStatements"}))
    assert "vka-mk7-new" not in found
    assert "vka-mk7-new" in silent(rulebook, "patient", "inr")


def test_a_rule_of_other_hooks_is_named(rulebook):
    found = silent(rulebook, *SOURCES, hooks=["patient-view"])
    assert found["vitd-retest-too-early"].hooks == ("order-select", "order-sign")
    assert "vka-mk7-new" not in found


def test_sources_that_are_not_sent_are_those_not_listed():
    assert unsent_sources(profile()) == frozenset()
    assert unsent_sources(profile("inr")) == frozenset(SOURCES.values()) - {"labs-inr"}


def test_the_command_tells_it(root):
    run = CliRunner().invoke(
        app, ["reach", "example-epic", "--folder", str(root / "examples" / "clients")]
    )
    assert run.exit_code == 0
    assert "supplements that nobody prescribed are not seen" in run.output
    assert "vka-natto" in run.output
    unknown = CliRunner().invoke(
        app, ["reach", "nobody", "--folder", str(root / "examples" / "clients")]
    )
    assert unknown.exit_code == EXIT_REFUSED


@pytest.mark.parametrize(
    ("silence", "told"),
    [
        (Silent(rule="r", untold=True), "r: no story tells when it speaks"),
        (Silent(rule="r", hooks=("order-sign", "order-select")), "r: speaks at order-sign, order-select only"),
        (Silent(rule="r", missing=("inr",)), "r: needs inr, which this client does not send"),
    ],
)  # fmt: skip
def test_each_reason_of_silence_has_its_own_sentence(silence, told):
    assert str(silence).startswith(told)


def test_nothing_is_claimed_of_a_rule_without_stories(tmp_path):
    pack = write_pack("west", tmp_path, today=date(2028, 1, 1))
    for story in (pack / "vignettes").iterdir():
        story.unlink()
    ours = [one.head.id for one in load_rulebook().packs]
    found = silent(load_rulebook([*ours, "west"], [pack]), *SOURCES)
    assert {name: one.untold for name, one in found.items()} == {"west-example": True}
