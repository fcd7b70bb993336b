"""Takes the picture of a run's summary for the analyst's guide: ``python scripts/summary_picture.py``.

The population is invented by the generator of the benchmarks, with a fixed seed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.population import write_population
from scripts.screenshots import NAMES, PICTURES
from service.batch.run import Run
from service.batch.values import Options

AS_OF = "2026-11-22T12:00:00+00:00"
PATIENTS, SHARE = 2_000, 0.25


def main() -> None:
    """Review the population and write the picture."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "export", Path(place) / "results"
        write_population(folder, PATIENTS, SHARE)
        options = Options(
            as_of=AS_OF,
            profile="nam-2011",
            verbosity="standard",
            engine="compiled",
            zone="UTC",
            validation="suspicious",
        )
        Run(out).review([folder], options)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1120, "height": 900}, color_scheme="light")
            page.goto((out / "summary.html").as_uri())
            page.screenshot(path=PICTURES / "summary.png", full_page=True)
            browser.close()


if __name__ == "__main__":
    main()
