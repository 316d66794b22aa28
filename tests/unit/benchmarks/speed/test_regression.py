"""Whether a ratio is worse than the recorded one."""

import pytest

from benchmarks.speed.regression import LEAST_TOLERANCE, RATIOS, compared, main


def ratios(**changed: float):
    values = dict.fromkeys(RATIOS, 1.0) | changed
    return {name: {"median": value, "min": value, "max": value} for name, value in values.items()}


def worse(before, after) -> set[str]:
    return {name for name, (_, is_worse) in zip(RATIOS, compared(before, after), strict=True) if is_worse}


def test_the_same_is_not_worse():
    assert worse(ratios(), ratios()) == set()


@pytest.mark.parametrize(("name", "ratio"), RATIOS.items())
def test_a_change_for_the_worse_beyond_the_tolerance_is_told_and_one_for_the_better_is_not(name, ratio):
    down, up = 1 - LEAST_TOLERANCE - 0.01, 1 + LEAST_TOLERANCE + 0.01
    bad, good = (down, up) if ratio.more_is_better else (up, down)
    assert worse(ratios(), ratios(**{name: bad})) == {name}
    assert worse(ratios(), ratios(**{name: good})) == set()


def test_rounds_that_were_far_apart_tolerate_more():
    noisy = ratios()
    noisy["fields"] = {"median": 1.0, "min": 0.8, "max": 1.1}
    assert worse(noisy, ratios(fields=0.72)) == set()
    assert worse(noisy, ratios(fields=0.68)) == {"fields"}


def test_a_ratio_that_was_not_recorded_is_told_and_cannot_be_worse():
    before = ratios()
    del before["own"]
    assert compared(before, ratios())[-1] == (f"{RATIOS['own'].what}: 1, not recorded before", False)


def test_without_a_baseline_it_says_how_to_get_one(tmp_path):
    with pytest.raises(SystemExit, match="--record writes one"):
        main(["--baseline", str(tmp_path / "none.json")])
