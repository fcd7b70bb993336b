"""In every story of the packs: what closes when nothing but time passes, and what waits for a second look."""

from datetime import timedelta

import msgspec

from rules.vignettes import stories_of
from service.alerts.sightings import recommended
from service.alerts.unrepeated import only_grew_old
from service.bootstrap import build_engine
from service.settings import Settings

# Rules that warn of a result keep their alerts; those that warn of something new pass them on to the next rule.
WAIT_FOR_A_SECOND_LOOK = {
    "digoxin-vitd-calcium", "vitd-deficiency-treat", "vitd-hypercalcaemia", "vitd-level-high", "vitd-level-toxic",
    "vka-inr-high-no-otc-k", "vka-subtherapeutic-inr-with-k",
}  # fmt: skip
END_WITH_TIME = {
    "inr-recheck-overdue-after-k-change", "vitd-primary-hyperparathyroidism", "vka-fat-malabsorption-drug",
    "vka-k-exposure-changed", "vka-k1-supplement-new", "vka-mk7-new", "vka-natto",
    "vitd-level-toxic",  # of a child whose calcium grew old: the level itself still speaks, as vitd-level-high
    "vitd-deficiency-treat",  # two fractions of two draws of one day: the later one counts as a second look
}  # fmt: skip
DAYS = (0, 1, 3, 7, 8, 15, 31, 40, 91, 181, 190, 366, 400)


def test_time_alone_closes_no_warning_about_a_result(root):
    engine = build_engine(Settings(engine="compiled"))
    kept, closed = set(), set()
    for story in stories_of(engine.rulebook, root / "rules" / "packs"):
        for rule, grew_old in _when_time_passes(engine, story):
            (kept if grew_old else closed).add(rule)
    engine.close()
    assert kept == WAIT_FOR_A_SECOND_LOOK
    assert closed == END_WITH_TIME


def _when_time_passes(engine, story):
    """Every warning of a story that falls silent within a year and some, and whether its result only grew old."""
    facts = msgspec.json.decode(msgspec.json.encode(story.facts))
    warned = {}
    for days in DAYS:
        passed = timedelta(days=days)
        made = engine.assess(story.facts, as_of=story.as_of + passed, today=story.today + passed)
        answer = msgspec.json.decode(msgspec.json.encode(made))
        spoken = {(one["rule"], one["about"]): one for one in answer["recommendations"]}
        held = {(one["rule"], one["about"]) for one in answer["superseded"] + answer["suppressed"]}
        for key in [key for key in warned if key not in spoken and key not in held]:
            then = warned.pop(key)
            rests_on_results = any(
                mark for one in recommended({**answer, "recommendations": [then]}, facts) for mark in one.sources.values()
            )  # fmt: skip
            yield key[0], rests_on_results and only_grew_old(then, answer, facts)
        if days == 0:
            warned = {key: one for key, one in spoken.items() if one["indicator"] != "info"}
        else:
            warned |= {key: spoken[key] for key in warned if key in spoken}
