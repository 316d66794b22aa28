"""Networks in a process of their own."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.networks import Arrangement, Lanes, _mixed, arrangements


@given(st.integers(1, 64))
def test_arrangements_use_every_core_once(cores):
    found = arrangements(cores)
    assert all(each.lanes * each.threads == cores for each in found)
    assert Arrangement(cores, 1) in found
    assert Arrangement(1, cores) in found


@given(st.integers(1, 20), st.integers(1, 20))
def test_mixed_work_has_as_much_of_each_in_any_half(some, others):
    mixed = _mixed(["a"] * some, ["b"] * others)
    half = mixed[: len(mixed) // 2]
    assert sorted(mixed) == ["a"] * some + ["b"] * others
    assert abs(half.count("a") - some / 2) <= 1.5


def test_lanes_work_side_by_side_and_jobs_take_turns(tmp_path):
    lanes = Lanes(tmp_path, {}, Arrangement(2, 1))
    other_began = threading.Event()
    done: list[str] = []

    def waits_for_the_other(_):
        assert other_began.wait(10)
        done.append("a")

    def other(_):
        other_began.set()
        done.append("b")

    # One lane alone would wait for ever.
    assert lanes.per_second([waits_for_the_other, other], 0.05) > 0
    assert abs(done.count("a") - done.count("b")) <= 2
