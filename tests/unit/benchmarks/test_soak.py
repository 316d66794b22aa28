"""What counts as growth."""

import subprocess
import sys

import pytest

from benchmarks.load import Tally
from benchmarks.soak import Look, growth, look, report, slope

MB = 10**6


def looks(*, grows=0.0, libraries=0.0, handles=(), ends=False):
    found = []
    for number in range(50):
        share = number / 49
        held = {
            "gateway": {
                "own": int(90 * MB * (1 + grows * share)),
                "pss": int(100 * MB * (1 + libraries * share)),
                "rss": 100 * MB,
                "handles": 20,
                "threads": 5,
            }
        }
        if handles:
            held["gateway"]["handles"] = handles[number * len(handles) // 50]
        if not (ends and number == 49):
            held["detector"] = {"own": 40 * MB, "pss": 50 * MB, "rss": 60 * MB, "handles": 10, "threads": 4}
        found.append(Look(number * 2.0, held))
    return found


def test_growth_is_from_the_first_to_the_last_fifth():
    assert growth([100] * 10 + [500] * 30 + [110] * 10) == pytest.approx(0.1)
    assert growth([100.0, 900.0] + [100.0] * 48) == 0  # a peak is no growth


def test_slope_is_that_of_the_whole_time():
    assert slope([0, 1, 2, 3], [100, 110, 120, 130]) == pytest.approx(0.3)


def test_an_even_soak_has_no_failures():
    figures = report(looks(), Tally())
    assert figures["failures"] == []
    assert all(claim["holds"] for claim in figures["claims"])


def test_libraries_that_are_shared_no_more_are_no_growth():
    assert report(looks(libraries=0.5), Tally())["failures"] == []


_WRITER = """
import mmap
print("ready", flush=True)
input()
memory = mmap.mmap(-1, 20_000_000)
for at in range(0, 20_000_000, 4096):
    memory[at] = 1
print("written", flush=True)
input()
"""


def test_memory_that_a_process_writes_is_its_own_and_that_of_files_is_not():
    def held():
        return look({"pid": process.pid, "replicas": {}}, 0.0).held["stack"]

    command = [sys.executable, "-c", _WRITER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        before = held()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "written\n"
        after = held()
        process.kill()
    assert after["own"] - before["own"] == pytest.approx(20 * MB, rel=0.05)
    assert after["own"] < after["pss"] <= after["rss"]


@pytest.mark.parametrize(
    "bad",
    [{"grows": 0.05}, {"handles": (20, 30, 40, 50)}, {"ends": True}],
    ids=["memory", "handles", "a process"],
)
def test_what_grows_or_goes_is_a_failure(bad):
    figures = report(looks(**bad), Tally())
    assert figures["failures"]
    assert not all(claim["holds"] for claim in figures["claims"])


@pytest.mark.parametrize("tally", [Tally(lost=1), Tally(mixed_up=1)])
def test_a_bad_answer_is_a_failure(tally):
    assert report(looks(), tally)["failures"]
