"""docs/performance.md says what the measurements beside it say."""

import copy
import json

import pytest


@pytest.fixture(scope="module")
def page(script):
    return script("performance").PAGE


@pytest.fixture(scope="module")
def measured(page):
    """The measurements of the page."""
    return page.load(page.results)


def test_the_page_and_its_charts_are_current(page):
    page.check()


def test_every_bar_stands_on_the_page_with_what_was_measured(page, measured):
    text, _ = page.rendered(measured)
    claims = [claim for document in measured.values() for claim in document["claims"]]
    assert len(claims) >= 7
    for claim in claims:
        verdict = "yes" if claim["holds"] else "**no**"
        assert f"| {claim['claim']} | {claim['bar']} | {claim['measured']} | {verdict} |" in text


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("bars", ("fields", "gateway", "fields_per_second", "median")),
        ("bars", ("crops", "classify", "crops_per_second", "max")),
        ("empty", ("own_ms", "median")),
        ("curves", ("by_callers", 0, "fields_per_second")),
    ],
)
def test_another_figure_makes_the_page_stale(page, measured, tmp_path, name, path):
    documents = copy.deepcopy(dict(measured))
    for each, document in documents.items():
        (tmp_path / f"{each}.json").write_text(json.dumps(document))
    file = tmp_path / "page.md"
    page.write(file, tmp_path)
    page.check(file, tmp_path)
    *way, last = path
    place = documents[name]
    for step in way:
        place = place[step]
    place[last] = 3 * place[last] + 1
    (tmp_path / f"{name}.json").write_text(json.dumps(documents[name]))
    with pytest.raises(SystemExit, match="not current"):
        page.check(file, tmp_path)


def test_what_was_not_measured_is_told(page, measured):
    text, _ = page.rendered({"empty": measured["empty"]})
    assert "| Bars |  | not measured |  |" in text


def test_results_say_what_they_depend_on(measured):
    for name in ("bars", "curves"):
        document = measured[name]
        assert document["commit"]
        assert len(document["images"]["sha256"]) == 64
        assert all(len(digest) == 64 for digest in document["pipeline"]["networks"].values())
