"""The page of a run by itself: whatever text comes in stays text, and every number is drawn as long as it is."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import pytest

from service.batch.summary import summary_page

HOSTILE = '</title></style></svg><img src=x onerror=\'a()\'>" onload="b()"&amp;<script>c()</script>'
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "h1", "h2", "h3", "p",
    "span", "small", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "text", "figure",
    "details", "summary",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "class", "scope", "viewbox", "preserveaspectratio", "aria-hidden", "aria-label",
    "role", "width", "height", "x", "y", "x1", "x2", "y1", "y2", "text-anchor", "open",
}  # fmt: skip


def said(place):
    """A text that would be markup, with the place where it stands."""
    return f"{HOSTILE}{place}"


def account(**more):
    """What a run tells, with nothing in it but for what is given."""
    return {
        "as_of": "2026-11-22T09:00:00+00:00",
        "profile": "nam-2011",
        "patients": {"in": 10, "reviewed": 9, "rejected": 1, "nothing_to_say": 6, "untriggered": 0},
        "firings": {}, "indicators": {}, "gaps": {}, "failures": 0, "rejects": {}, "not_fetched": {}, "inputs": [],
        "deletions": {"listed": 0, "applied": 0}, "distributions": {}, "knowledge": {},
    } | more  # fmt: skip


def book(**titles):
    """Knowledge that names rules so; all else is called by its id."""
    cards = {rule: SimpleNamespace(title=title) for rule, title in titles.items()}
    return SimpleNamespace(cards=cards, vocabulary=SimpleNamespace(title=lambda name: name))


class Read(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts, self.svg = set(), set(), [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.texts += [value for name, value in attrs if name == "aria-label"]
        if tag in {"rect", "svg", "text"}:
            self.svg.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def bars(self):
        return [one for tag, one in self.svg if tag == "rect" and one["class"] == "bar"]


def test_whatever_text_comes_in_stays_text():
    told = account(
        client=said("client"),
        profile=said("profile"),
        firings={said("rule"): 2, "known": 1},
        gaps={said("gap"): 1},
        rejects={said("reject"): 1},
        not_fetched={said("source"): said("reason")},
        inputs=[{"file": said("file"), "type": said("type"), "lines": 1, "bytes": 1}],
        distributions={f"age:{said('measure')}": {"0": 1}},
        knowledge={said("pack"): said("mark")},
        code_maps=[
            {"map": said("map"), "version": said("version"), "used": 1, "of_no_concern": 0, "not_usable": {}}
        ],
    )  # fmt: skip
    read = Read(summary_page(told, book(known=said("title"))))
    assert read.tags == TAGS
    assert read.attributes <= ATTRIBUTES
    everything = "\n".join(read.texts)
    for place in ("client", "profile", "rule", "title", "source", "reason", "file", "type", "measure", "pack", "mark", "map", "version"):  # fmt: skip
        assert said(place) in everything, place
    for place in ("gap", "reject"):  # codes are spelled out
        assert said(place).replace("-", " ").capitalize() in everything, place
    drawn = [
        one for one in read.texts if one.startswith(said("measure")) and "numbers below" in one
    ]
    assert drawn == [f"{said('measure')}, 1 results: numbers below"]


def test_a_quotation_mark_does_not_end_the_name_of_a_plot():
    """Another attribute would begin behind it."""
    page = summary_page(account(distributions={"age:a' b=\"c": {"0": 1}}), book())
    read = Read(page)
    assert read.attributes <= ATTRIBUTES
    assert "a' b=\"c, 1 results: numbers below" in read.texts


def test_each_bar_is_as_long_as_its_number():
    firings = {"rare": 1, "often": 10, "middling": 5, "also-middling": 5}
    read = Read(summary_page(account(firings=firings), book()))
    assert [float(one["width"]) for one in read.bars()] == [100, 50, 50, 10]
    names = [one for one in read.texts if one in firings]
    assert names == ["often", "also-middling", "middling", "rare"]


@pytest.mark.parametrize(
    ("name", "step", "last", "title", "told"),
    [
        ("age:lab", 10, 24, "lab", ["0 to 29 days old: 4", "30 to 59 days old: 1", "720 days old or more: 2"]),
        ("intake:vitamin-d", 20, 20, "Patients by daily intake",
         ["0 to 499 international units: 4", "500 to 999 international units: 1", "10,000 international units or more: 2"]),
    ],
)  # fmt: skip
def test_each_column_stands_at_its_band_and_is_as_tall_as_its_number(name, step, last, title, told):
    """The last one holds all that lies beyond."""
    counts = {"0": 4, "1": 1, str(last): 1, str(last + 30): 1}
    page = summary_page(account(distributions={name: counts}), book())
    read = Read(page)
    columns = read.bars()
    assert [int(one["x"]) for one in columns] == [1, step + 1, last * step + 1]
    assert [float(one["height"]) for one in columns] == [64, 16, 32]
    ends = {float(one["y"]) + float(one["height"]) for one in columns}
    assert ends == {68}, "all stand on the line"
    assert {int(one["width"]) for one in columns} == {step - 2}
    (wide,) = {one["viewbox"].split()[2] for tag, one in read.svg if tag == "svg"}
    assert int(wide) == (last + 1) * step
    marks = [int(one["x"]) for tag, one in read.svg if tag == "text"]
    assert marks[-1] == int(wide)
    assert all(one < other for one, other in pairwise(marks))
    assert re.findall(r"<title>([^<]+)</title></rect>", page) == told
    assert any(one.startswith(title) and "7 " in one for one in read.texts)


def test_nothing_is_said_plainly_and_draws_nothing():
    read = Read(summary_page(account(), book()))
    assert not read.bars()
    everything = " ".join(read.texts)
    for words in ("No rule spoke.", "No gap was noted.", "Nothing was rejected."):
        assert words in everything
    assert "Age of results" not in everything
    assert "Deleted records" not in everything


def test_what_went_wrong_and_what_was_not_had_cannot_be_overlooked():
    told = account(
        failures=2,
        rejects={"bad-json": 1, "worker-crashed": 2},
        indicators={"critical": 3, "info": 1},
        not_fetched={"one": "not fetched", "other": "not fetched", "third": "not fetched as a whole"},
        deletions={"listed": 7, "applied": 5},
    )  # fmt: skip
    page = summary_page(told, book())
    figures = re.findall(r"<div class='(\w*)'><dt>([^<]+)</dt><dd>(\d+)(?:<small>([^<]*)</small>)?", page)  # fmt: skip
    assert figures == [
        ("", "Patients reviewed", "9", "of 10"), ("", "With something to say", "3", "33.3 %"),
        ("critical", "Critical", "3", ""), ("", "Warnings", "0", ""), ("info", "Information", "1", ""),
        ("", "Rejects", "3", ""), ("critical", "Rules that broke", "2", ""),
        ("", "Deleted records left out", "5", "of 7 listed"),
    ]  # fmt: skip
    assert (
        "never taken for absent: one, other (not fetched); third (not fetched as a whole)." in page
    )
    assert "Place and reason of each: rejects.ndjson." in page


def test_the_largest_files_are_named_and_the_rest_counted():
    files = [
        {"file": f"f{number:02}", "type": "mixed", "lines": number, "bytes": number}
        for number in range(27)
    ]
    page = summary_page(account(inputs=files), book())
    named = re.findall(r"<th scope='row'>(f\d\d)</th>", page)
    assert named == [f"f{number:02}" for number in range(26, 1, -1)]
    assert "27 files, 351 bytes" in page
    assert "And 2 smaller files: run.json." in page
