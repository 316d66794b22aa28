"""docs/api.md tells the whole contract, and today's."""

import re

import pytest

from hemaserve.v1 import cells_pb2, classifier_pb2, detector_pb2, gateway_pb2

FILES = [module.DESCRIPTOR for module in (cells_pb2, classifier_pb2, detector_pb2, gateway_pb2)]


@pytest.fixture(scope="module")
def api_reference(script):
    return script("api_reference")


@pytest.fixture(scope="module")
def page(api_reference) -> str:
    return api_reference.REFERENCE.read_text(encoding="utf-8")


def test_the_reference_is_current(api_reference, page):
    assert page == api_reference.reference(), "run python scripts/api_reference.py"


def test_everything_in_the_contract_is_there(page):
    headings = set(re.findall(r"^### (\w+)$", page, re.MULTILINE))
    for file in FILES:
        named = {**file.services_by_name, **file.message_types_by_name, **file.enum_types_by_name}
        assert named.keys() <= headings
        for message in file.message_types_by_name.values():
            section = page.split(f"### {message.name}\n")[1].split("\n### ")[0]
            for field in message.fields:
                assert re.search(rf"^\| `{field.name}` \|.*\| {field.number} \|", section, re.MULTILINE)


def test_nothing_is_without_a_word_of_explanation(page):
    for line in page.splitlines():
        if line.startswith("| `"):
            assert len(re.split(r"(?<!\\)\|", line)[-2].strip()) > 3, line


def test_links_lead_to_headings(page):
    headings = {heading.lower() for heading in re.findall(r"^#+ (\S+)$", page, re.MULTILINE)}
    targets = set(re.findall(r"\(#([^)]+)\)", page))
    assert targets
    assert targets <= headings


def test_what_a_field_is_is_shown(page):
    assert re.search(r"\| `fields?` \| \[Field\]\(#field\) \| one of `message` \|", page)
    assert re.search(r"\| `score_threshold` \| float \| optional \|", page)
    assert re.search(r"\| `cells` \| \[Cell\]\(#cell\) \| repeated \|", page)
    assert "| `AnalyzeSmear` | stream of [AnalyzeSmearRequest](#analyzesmearrequest) | stream of" in page


@pytest.mark.parametrize("change", ["\nmore\n", None])
def test_a_stale_or_missing_reference_fails_the_check(api_reference, page, tmp_path, monkeypatch, change):
    stale = tmp_path / "api.md"
    if change is not None:
        stale.write_text(page + change, encoding="utf-8")
    monkeypatch.setattr(api_reference, "REFERENCE", stale)
    monkeypatch.setattr("sys.argv", ["api_reference.py", "--check"])
    with pytest.raises(SystemExit, match="not current"):
        api_reference.main()
    assert stale.exists() is (change is not None)


def test_the_current_reference_passes_the_check_and_can_be_written(
    api_reference, page, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["api_reference.py", "--check"])
    api_reference.main()
    monkeypatch.setattr(api_reference, "REFERENCE", tmp_path / "api.md")
    monkeypatch.setattr("sys.argv", ["api_reference.py"])
    api_reference.main()
    assert (tmp_path / "api.md").read_text(encoding="utf-8") == page
