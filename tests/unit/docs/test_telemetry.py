"""docs/telemetry.md tells all signals that are declared, and today's."""

import pytest

from services.runtime.foreign_signals import FOREIGN_METRICS
from services.runtime.signals import METRICS
from services.runtime.span_signals import SPANS


@pytest.fixture(scope="module")
def telemetry(script):
    return script("telemetry")


@pytest.fixture(scope="module")
def page(telemetry) -> str:
    return telemetry.PAGE.read_text(encoding="utf-8")


def test_the_page_is_current(telemetry, page):
    assert page == telemetry.page(), "run python scripts/telemetry.py"


def test_every_signal_is_there_once_with_what_it_means(page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for signal in (*METRICS, *FOREIGN_METRICS):
        (row,) = [row for row in rows if row.startswith(f"| `{signal.name}` |")]
        assert signal.meaning in row
    for span in SPANS:
        assert any(row.startswith(f"| `{span.name}` |") and span.meaning in row for row in rows)


def test_every_label_is_explained(page):
    for label in {label for metric in METRICS for label in metric.labels}:
        assert f"| `{label.name}` | {label.meaning} |" in page


@pytest.mark.parametrize("change", ["\nmore\n", None])
def test_a_stale_or_missing_page_fails_the_check(telemetry, page, tmp_path, monkeypatch, change):
    stale = tmp_path / "telemetry.md"
    if change is not None:
        stale.write_text(page + change, encoding="utf-8")
    monkeypatch.setattr(telemetry, "PAGE", stale)
    monkeypatch.setattr("sys.argv", ["telemetry.py", "--check"])
    with pytest.raises(SystemExit, match="not current"):
        telemetry.main()
