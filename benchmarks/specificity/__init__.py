"""How often the rules speak, to whom, and how often rightly: invented people whose true danger is known beforehand.

python -m benchmarks specificity                       # JSON, two populations
python -m benchmarks.specificity --people 1000 --seed 2  # one population, with the keys of those missed
"""

from __future__ import annotations

from typing import Any

SEED = 20261122


def measure(quick: bool = False) -> dict[str, Any]:
    """A population as it is, and one in which everybody is on a vitamin K antagonist and five times as many take vitamin K."""
    from benchmarks.specificity.scoring import figures, score

    people, on_antagonist = (3_000, 600) if quick else (60_000, 6_000)
    return {
        "seed": SEED,
        "population": figures(score(people, SEED)),
        "on_antagonist": figures(
            score(on_antagonist, SEED, antagonist=1.0, vitamin_k=5.0, first=1_000_000)
        ),
    }
