"""One population with the keys of people who were missed or alarmed for nothing, for looking closer."""

from __future__ import annotations

import argparse
import json

from benchmarks.specificity import SEED
from benchmarks.specificity.scoring import figures, score

parser = argparse.ArgumentParser(prog="python -m benchmarks.specificity", description=__doc__)
parser.add_argument("--people", type=int, default=1_000)
parser.add_argument("--seed", type=int, default=SEED)
parser.add_argument(
    "--antagonist", type=float, default=0.03, help="share of people on a vitamin K antagonist"
)
parser.add_argument(
    "--vitamin-k", type=float, default=1.0, help="times as many products with vitamin K"
)
chosen = parser.parse_args()
total = score(chosen.people, chosen.seed, antagonist=chosen.antagonist, vitamin_k=chosen.vitamin_k)
told = figures(total)
told["missed"] = {name: keys[:20] for name, keys in sorted(total.missed.items())}
told["wrong"] = {name: keys[:20] for name, keys in sorted(total.wrong.items())}
print(json.dumps(told, indent=2))
