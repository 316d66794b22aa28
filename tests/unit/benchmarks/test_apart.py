"""Work in processes of their own."""

import os
import time

import pytest

from benchmarks.apart import Apart


def counting(start: int):
    state = [start]

    def act(more: int) -> tuple[int, int]:
        state[0] += more
        return state[0], os.getpid()

    return act


def working():
    def act(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return act


def dying():
    return lambda: os._exit(3)


def test_a_process_keeps_what_it_prepared_and_is_another():
    with Apart(counting, 10) as process:
        (first, pid), _ = process.do(1)
        (second, again), _ = process.do(2)
    assert (first, second) == (11, 13)
    assert pid == again == process.pid != os.getpid()


def test_its_processor_time_is_counted_and_others_can_look_meanwhile():
    looks = []
    with Apart(working) as process:
        _, cpu_s = process.do(0.7, meanwhile=lambda: looks.append(1))
    assert cpu_s == pytest.approx(0.7, abs=0.2)
    assert looks


def test_the_death_of_a_process_is_told():
    with Apart(dying) as process, pytest.raises(SystemExit, match="dying died"):
        process.do()
