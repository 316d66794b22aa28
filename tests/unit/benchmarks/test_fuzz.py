"""A short run of each fuzzing target; `python -m benchmarks.fuzz TARGET` is the long one."""

import pytest

from benchmarks import fuzz

pytestmark = pytest.mark.slow  # each starts a fuzzer, which loads everything anew

SECONDS = 2


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_nothing_is_found_in_a_short_run(target, tmp_path, monkeypatch):
    pytest.importorskip("atheris")
    monkeypatch.chdir(tmp_path)  # what fails would be left here
    monkeypatch.setenv("PYTHONPATH", str(fuzz.ROOT))
    figures = fuzz.run(target, minutes=SECONDS / 60)
    assert figures["failures"] == 0, sorted(path.name for path in tmp_path.iterdir())
    assert figures["tries"] > 100
    assert figures["coverage"] > 20


def test_what_breaks_a_target_is_found(tmp_path, monkeypatch):
    """That the check can fail: with a refusal that is none of the domain's, the first input is a finding."""
    pytest.importorskip("atheris")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import hemaserve.site_profile as profile\nprofile.from_json = lambda data: 1 / 0\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{fuzz.ROOT}")
    assert fuzz.run("profile", minutes=SECONDS / 60)["failures"] == 1
