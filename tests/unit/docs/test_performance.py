"""docs/performance.md says what the measurements beside it say."""

import copy
import json
import shutil

import pytest


@pytest.fixture(scope="module")
def page(script):
    return script("performance").PAGE


@pytest.fixture(scope="module")
def measured(page):
    """The measurements of the page."""
    return page.load(page.results)


@pytest.fixture(scope="module")
def written(page, measured, tmp_path_factory):
    """The same page and charts, written elsewhere."""
    folder = tmp_path_factory.mktemp("performance")
    for name, document in measured.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    page.write(folder / "page.md", folder)
    return folder


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
        ("empty", ("by_replicas", "2", "fields_per_second", "median")),
        ("peers", ("peers", "litserve", "saturation", "ratio", "median")),
        ("peers", ("peers", "flask", "mixed", "ours", "stat", "p99_ms")),
        ("start", ("first_answer_s", "median")),
        ("bars", ("fields", "triton", "fields_per_second", "median")),
        ("curves", ("by_callers", 0, "fields_per_second")),
        ("curves", ("by_models", 0, "memory_mb")),
    ],
)
def test_another_figure_makes_the_page_stale(page, measured, written, tmp_path, name, path):
    folder = shutil.copytree(written, tmp_path / "performance")
    page.check(folder / "page.md", folder)
    document = copy.deepcopy(measured[name])
    *way, last = path
    place = document
    for step in way:
        place = place[step]
    place[last] = 3 * place[last] + 1
    (folder / f"{name}.json").write_text(json.dumps(document))
    with pytest.raises(SystemExit, match="not current"):
        page.check(folder / "page.md", folder)


def test_what_was_not_measured_is_told(page, measured):
    text, _ = page.rendered({"empty": measured["empty"]})
    assert "| Bars |  | not measured |  |" in text


def test_results_say_what_they_depend_on(measured):
    for name in ("bars", "curves"):
        document = measured[name]
        assert document["commit"]
        assert len(document["images"]["sha256"]) == 64
        assert all(len(digest) == 64 for digest in document["pipeline"]["networks"].values())
