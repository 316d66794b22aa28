"""The load that peers and our gateway are given, and what is concluded from it."""

import pytest

from benchmarks.call_load import Call, Load
from benchmarks.peers.answers import CellAnswer, FieldAnswer
from benchmarks.peers.comparing import claims
from benchmarks.peers.loads import (
    SMALL_PX,
    in_turn,
    latencies,
    mixed_closed_loop,
    per_second,
    scenarios,
    small_images,
)
from hemaserve import synthetic
from hemaserve.imaging import decode


class Asking:
    """Answers at once, until the load has had enough."""

    def __init__(self, clock):
        self.began = 0.0
        self.clock = clock
        self.asked = []

    async def ask(self, priority):
        self.asked.append(priority)
        self.clock.now += 0.01


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


async def test_mixed_load_is_the_same_each_time_and_has_all_priorities(monkeypatch):
    asked = []
    for _ in range(2):
        clock = Clock()
        monkeypatch.setattr("benchmarks.peers.loads.time", clock)
        asking = Asking(clock)
        await mixed_closed_loop(asking, 5.0, 1)
        asked.append(asking.asked)
    assert asked[0] == asked[1]
    assert 500 <= len(asked[0]) <= 501
    assert 25 <= asked[0].count("stat") <= 75
    assert {"stat", "routine", "batch"} == set(asked[0])


def cell(*box):
    return CellAnswer(box, 0.9, "monocyte", 1.0, True)


@pytest.mark.parametrize("box", [(300, 200, 360, 260), (0, 0, 10, 10), (630, 470, 640, 480)])
def test_a_small_image_lies_in_its_field_and_shows_the_cell(box):
    drawn = synthetic.generate_field(1).image
    (small,) = small_images(
        [synthetic.encode_png(drawn)] * 2, [FieldAnswer((cell(*box),), {}), FieldAnswer((), {})]
    )
    pixels = decode(small)
    assert pixels.shape == (SMALL_PX, SMALL_PX, 3)
    x, y = (box[0] + box[2]) // 2, (box[1] + box[3]) // 2
    left, top = min(max(0, x - 128), 640 - 256), min(max(0, y - 128), 480 - 256)
    assert (pixels == drawn[top : top + 256, left : left + 256]).all()


def test_fields_and_small_images_take_turns():
    assert in_turn([b"a", b"b", b"c"], [b"1"]) == (b"a", b"1", b"b", b"1", b"c", b"1")
    assert in_turn([b"a"], []) == (b"a",)


def test_a_rate_is_only_measured_when_there_is_one():
    assert set(scenarios(at_once=4, callers=64, rate=0)) == {"saturation", "mixed"}
    assert set(scenarios(at_once=4, callers=64, rate=3)) == {"saturation", "mixed", "open_loop"}


def test_only_good_answers_have_latencies():
    calls = [Call("stat", "ok", 0.1, 1.0), Call("batch", "ok", 0.3, 1.0), Call("batch", "refused", 9.0, 1.0)]
    found = latencies(calls)
    assert found["all"]["p50_ms"] == 200.0
    assert found["stat"] == {"calls": 1}
    assert found["outcomes"] == {"ok": 2, "refused": 1}


def measured(ratio, mixed, *, ours_ms=100.0, theirs_ms=200.0):
    def spread(value):
        return {"median": value, "min": value, "max": value}

    def side(ms):
        return {"all": {"p99_ms": ms}, "stat": {"p99_ms": ms}}

    return {
        "saturation": {"ratio": spread(ratio), "ours": side(ours_ms), "theirs": side(theirs_ms)},
        "mixed": {"how_much": 64, "ratio": spread(mixed), "ours": side(ours_ms), "theirs": side(theirs_ms)},
    }


def holding(peers):
    return [each["holds"] for each in claims(peers)]


def test_the_best_peer_and_the_eager_app_decide():
    assert (
        holding({"ray": measured(3, 3), "litserve": measured(0.96, 1.3), "flask": measured(5.1, 1)})
        == [True] * 4
    )


def test_each_bar_can_be_missed():
    assert holding({"ray": measured(3, 3), "litserve": measured(0.94, 1.3)}) == [False, True, True]
    assert holding({"ray": measured(3, 3), "litserve": measured(2, 1.2)}) == [True, False, True]
    assert holding({"ray": measured(3, 3, ours_ms=201)}) == [True, False, False]
    assert holding({"flask": measured(4.9, 9)}) == [False]


def test_speed_counts_good_answers_to_the_last_one_without_the_beginning():
    calls = [Call("routine", "ok", 1.0, at) for at in (0.5, 1.4, 5.5, 11.5)] + [
        Call("routine", "refused", 0, 3.0)
    ]
    assert per_second(Load(calls, took_s=10.0, cpu_s=1.0)) == pytest.approx(2 / 10.0)


def test_no_good_answer_is_an_error_that_says_what_came():
    with pytest.raises(ValueError, match="1 calls: refused"):
        per_second(Load([Call("routine", "refused", 0.1, 9.0)], took_s=10.0, cpu_s=1.0))
