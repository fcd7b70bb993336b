"""Takes the pictures of the documentation from a running demo: ``python scripts/screenshots.py http://127.0.0.1:8080``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SCREENS = {
    "queue": "/queue",
    "rule": "/rules/vka-subtherapeutic-inr-with-k?days=364",
    "silences": "/silences",
    "handover": "/handover",
}
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main(address: str) -> None:
    """Write worklist, alert and patient page."""
    PICTURES.mkdir(exist_ok=True)
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(
            base_url=address, viewport={"width": 1360, "height": 900}, color_scheme="light"
        )
        page.goto("/login")
        page.get_by_role("button", name="Go in as the demo pharmacist").click()
        page.wait_for_url("**/work")
        page.locator("details.score summary").nth(7).click()
        page.screenshot(path=PICTURES / "worklist.png")
        page.goto("/work?rule=vka-subtherapeutic-inr-with-k")
        page.locator("a.problem-link").first.click()
        page.wait_for_url("**/a/*")
        page.screenshot(path=PICTURES / "alert.png")
        page.locator(".banner-id a").click()
        page.wait_for_url("**/p/*")
        page.screenshot(path=PICTURES / "patient.png")
        for name, path in SCREENS.items():
            page.goto(path)
            page.screenshot(path=PICTURES / f"{name}.png")
        page.goto("/batch")
        page.locator("main tbody a").first.click()
        page.locator(".tile-row").wait_for()
        page.screenshot(path=PICTURES / "run.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
