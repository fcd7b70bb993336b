"""The page of a population review, in a real browser without a network: accessible, narrow and dark as well."""

import json
from pathlib import Path

import pytest

from service.batch.run import Run
from tests.e2e.accessibility import LOOKS, look_over
from tests.service.batch.people import bundle, lab, patient, population, write_bundles
from tests.service.batch.test_review import options


@pytest.fixture(scope="module")
def page_of_a_run(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    people, shared = population(12)
    hostile = "<img src=x onerror=document.title='caught'>"
    people["ada"] = [patient("ada"), lab("ada", "1989-3", 9, "ng/mL", 1)]
    folder = write_bundles(place / "in", people, shared)
    (folder / f"{hostile.replace('/', '')}.json").write_text(json.dumps(bundle([patient(hostile)])))
    (folder / "bad.json").write_text("{")
    Run(place / "out").review([folder], options())
    return place / "out" / "summary.html"


@pytest.mark.parametrize("look", LOOKS)
def test_it_is_accessible_fits_a_telephone_and_asks_nobody(browser, page_of_a_run, look):
    context = browser.new_context(offline=True, **LOOKS[look])
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_of_a_run.as_uri())
    assert asked == [page_of_a_run.as_uri()]
    look_over(page)
    assert page.title().startswith("Population review of 22 November 2026")
    assert page.locator("img").count() == 0


def test_its_figures_are_those_of_the_run(browser, page_of_a_run):
    told = json.loads((Path(page_of_a_run).parent / "run.json").read_text())
    page = browser.new_page()
    page.goto(page_of_a_run.as_uri())
    figures = dict(
        zip(
            page.locator(".figures dt").all_inner_texts(),
            [one.split("\n")[0] for one in page.locator(".figures dd").all_inner_texts()],
            strict=True,
        )
    )
    assert figures["Patients reviewed"] == str(told["patients"]["reviewed"])
    assert figures["Critical"] == str(told["indicators"]["critical"])
    assert sum(told["indicators"].values()) == sum(told["firings"].values())
    counted = page.locator("section", has_text="Recommendations by rule").locator("td.n")
    assert [int(one) for one in counted.all_inner_texts()] == sorted(
        told["firings"].values(), reverse=True
    )
