"""The threat model's rows each have a test that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "threat-model.md"


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named_by(cell: str) -> list[Path]:
    return [(PAGE.parent / link).resolve() for link in re.findall(r"\]\(([^)#]+)\)", cell)]


def missing(text: str) -> list[str]:
    """What a row's last cell names that is no file of tests, and threats without any."""
    found = []
    for asset, threat, _stopped_by, shown_by in rows(text):
        named = named_by(shown_by)
        if not named:
            found.append(f"{asset}: {threat}")
        for path in named:
            is_test = (
                path.name.startswith("test_")
                and path.is_file()
                and re.search(r"(?m)^\s*(async )?def test_", path.read_text())
            )
            if not is_test:
                found.append(str(path.relative_to(ROOT)))
    return found


def test_every_threat_has_a_test_and_every_test_is_there():
    text = PAGE.read_text()
    assert all(len(row) == 4 and all(row) for row in rows(text))
    assert len(rows(text)) > 15
    assert missing(text) == []


def test_a_row_without_a_test_or_with_one_that_is_gone_is_noticed():
    wish = PAGE.read_text() + "| A | A threat | Hope | nothing |\n"
    gone = PAGE.read_text() + "| A | A threat | Care | [a test](../tests/unit/test_gone.py) |\n"
    no_test = PAGE.read_text() + "| A | A threat | Care | [a page](api.md) |\n"

    assert missing(wish) == ["A: A threat"]
    assert missing(gone) == ["tests/unit/test_gone.py"]
    assert missing(no_test) == ["docs/api.md"]


def test_links_elsewhere_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()) if "://" not in link]
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
