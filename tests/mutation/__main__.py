"""Plants small faults in what reads doses and units, compiles, encodes, reconciles and derives; tests must notice.

    python -m tests.mutation                       every mutant of every part
    python -m tests.mutation --sample 200 --seed 1 as continuous integration does
    python -m tests.mutation --part reconcile      one part
    python -m tests.mutation --again survivors.txt those that an earlier run named

Faults that change nothing anybody could notice are listed in equivalent.yaml, each with its reason, and not planted.
Each mutant is tried in a process of its own, forked from one in which everything is loaded: first the vignettes where
they are the tests of a part, then its test files. What survives is named; ends with 1 when fewer died than ``--goal``.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

from tests.mutation.mutants import mutants_of, plant

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")
SECONDS = 90  # what takes longer has been broken in a way that people notice
RULES, ADAPTER = "tests/rules", "tests/fhir_adapter"
_READERS = [f"{ADAPTER}/test_doses_and_units.py", f"{ADAPTER}/test_regimens.py", f"{ADAPTER}/test_frequency_words.py", f"{ADAPTER}/test_dose_words.py",
            f"{ADAPTER}/test_product_words.py", f"{ADAPTER}/test_reader_medications.py", f"{ADAPTER}/test_reader_results.py"]  # fmt: skip
ALREADY_TOLD = [
    "-k",
    "not every_number",
]  # that stories hold every number has been seen when they were played
# part -> (files, whether vignettes are its tests, its test files, the quick ones first)
PARTS = {
    "doses": (["fhir_adapter/dosage.py", "fhir_adapter/dose_words.py", "fhir_adapter/frequency_words.py", "fhir_adapter/amounts.py",
               "fhir_adapter/timing.py", "fhir_adapter/regimen.py"], False, _READERS),
    "units": (["rules/units.py"], False, [f"{RULES}/test_units.py", *_READERS]),
    "compiler": (["rules/compiler.py", "rules/program.py", "rules/plan.py"], False, [
        f"{RULES}/test_compiler.py", f"{RULES}/test_oracle.py", f"{RULES}/test_plan.py", f"{RULES}/test_driver.py",
        f"{RULES}/test_differential.py"]),
    "encoding": (["rules/encoding.py"], False, [f"{RULES}/test_encoding.py"]),
    "reconcile": (["rules/reconcile.py"], False, [f"{RULES}/test_reconcile.py", f"{RULES}/test_engine.py"]),
    "derivations": (sorted(str(one.relative_to(ROOT)) for one in (ROOT / "rules/packs").glob("*/*.py")
                           if one.name not in {"__init__.py", "rules.py"}), True, [
        f"{RULES}/test_what_derivations_find.py", f"{RULES}/test_intervals.py", f"{RULES}/test_findings_show_their_work.py", f"{RULES}/test_pack_vka.py", f"{RULES}/test_pack_vitd.py",
        *ALREADY_TOLD]),
}  # fmt: skip


def equivalents():
    """(file, place) of every fault that nobody could notice."""
    listed = yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8"))
    return {
        (file, place)
        for file, reasons in listed.items()
        for one in reasons
        for place in one["faults"]
    }


def all_mutants(parts):
    """(part, mutant) of every file of these parts, but for those that nobody could notice."""
    unnoticeable = equivalents()
    return [
        (part, mutant)
        for part in parts
        for name in PARTS[part][0]
        for mutant in mutants_of(ROOT, Path(name))
        if (name, mutant.place) not in unnoticeable
    ]


def draw(mutants, count, seed):
    """A sample with the same number from each part, as far as a part has so many."""
    chance, drawn = random.Random(seed), []
    by_part = {}
    for part, mutant in mutants:
        by_part.setdefault(part, []).append((part, mutant))
    waiting = sorted(by_part.values(), key=len)
    while waiting:
        share, held = (count - len(drawn)) // len(waiting), waiting.pop(0)
        drawn += chance.sample(held, min(share, len(held)))
    return drawn


def warm_up():
    """Load what every trial needs, and run none of it: what was computed before the fault hides it."""
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401

    import fhir_adapter.reader  # noqa: F401
    import rules.driver
    import rules.rulebook
    import rules.vignettes

    for pack in sorted((ROOT / "rules" / "packs").iterdir()):
        for file in sorted(pack.glob("*.py")):
            __import__(f"rules.packs.{pack.name}.{file.stem}")
    rules.driver.explain_import_error()


def try_mutant(part, mutant):
    """``killed``, ``survived``, ``slow`` or ``none`` (no code came of it), from a child process."""
    child = os.fork()
    if child == 0:
        _trial(part, mutant)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "slow" if os.WTERMSIG(status) == signal.SIGALRM else "killed"
    return {0: "survived", 1: "killed", 3: "none"}[os.WEXITSTATUS(status)]


def _trial(part, mutant):
    _, stories, files = PARTS[part]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    signal.alarm(SECONDS)
    code = 4
    try:
        if mutant is not None and not plant(ROOT, mutant):
            os._exit(3)
        code = _tests_fail(stories, files)
    finally:
        os._exit(code)


def _tests_fail(stories, files):
    if stories and not _stories_hold():
        return 1
    import pytest

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return int(bool(pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", *files])))


def _stories_hold():
    from rules.engine import Engine
    from rules.rulebook import BUNDLED, load_rulebook
    from rules.vignettes import play_story, stories_of

    book = load_rulebook()
    engine = Engine(book, "compiled")
    return all(play_story(engine, story) is None for story in stories_of(book, BUNDLED))


def _tell(chosen):
    part, mutant = chosen
    return part, str(mutant), try_mutant(part, mutant)


def run(chosen, processes, say=lambda *_: None):
    """Try them all; returns the results per part and those that nobody noticed."""
    warm_up()
    for part in {part for part, _ in chosen}:
        if try_mutant(part, None) != "survived":
            raise SystemExit(f"the tests of {part} fail without any fault")
    results, survivors = {part: Counter() for part in PARTS}, []
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for number, (part, name, result) in enumerate(pool.imap_unordered(_tell, chosen), 1):
            results[part][result] += 1
            if result == "survived":
                survivors.append(name)
            say(number, part, name, result)
    return results, sorted(survivors)


def share(results):
    """How much of what was planted was noticed."""
    whole = sum(results.values(), Counter())
    died = whole["killed"] + whole["slow"]
    return died / max(1, died + whole["survived"])


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--again", type=Path, help="Only those named in this output of a run.")
    parser.add_argument("--sample", type=int, help="Only so many, drawn evenly from the parts.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--goal", type=float, default=0.95)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    begun = time.monotonic()
    chosen = all_mutants(options.part or PARTS)
    planted = len(chosen)
    if options.again:
        named = set(options.again.read_text(encoding="utf-8").splitlines())
        named = {line.partition(" ")[2] for line in named}
        chosen = [one for one in chosen if one[1].place in named]
    if options.sample:
        chosen = draw(chosen, options.sample, options.seed)

    def say(number, *_):
        if number % 100 == 0 and sys.stderr.isatty():
            print(number, "of", len(chosen), file=sys.stderr)

    results, survivors = run(chosen, options.processes, say)
    killed = share(results)
    per_part = {
        part: {"killed": f"{share({part: found}):.1%}", **found}
        for part, found in results.items()
        if found
    }
    print("\n".join(survivors))
    print(json.dumps({
        "mutants": planted, "tried": len(chosen), "killed": round(killed, 4), "parts": per_part,
        "seconds": round(time.monotonic() - begun),
    }, indent=2))  # fmt: skip
    return int(killed < options.goal)


if __name__ == "__main__":
    sys.exit(main())
