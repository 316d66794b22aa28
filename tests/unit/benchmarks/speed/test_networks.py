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
    together = threading.Barrier(2, timeout=5)
    done: list[str] = []

    def job(name):
        def run(_):
            together.wait()
            done.append(name)

        return run

    # One job and a lane would wait for ever for the other.
    rate = lanes.per_second([job("a"), job("b")], 0.001)
    assert rate > 0
    assert {"a", "b"} <= set(done)
