"""When fields come: rates by formula, and arrivals at random moments with these rates, drawn with a seed.

All are non-homogeneous Poisson processes (Cox and Isham, Point Processes, 1980), drawn second by second: the number in
a second is Poisson with the formula's rate in its middle, and the moments are even within it. Times are seconds from
the trace's beginning, rates fields a second.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Trace:
    """One kind of load.

    Attributes:
        title: what it is, in words.
        formula: its rate, in words.
        seconds: how long it is.
        rate: fields a second at each of some times.
        lost: when, and of which role, a replica is lost.
    """

    title: str
    formula: str
    seconds: float
    rate: Callable[[Floats], Floats]
    lost: tuple[tuple[float, str], ...] = ()

    def arrivals(self, seed: int) -> Floats:
        """Moments at which fields come, in order."""
        chance = np.random.default_rng(seed)
        seconds = np.arange(self.seconds)
        counts = chance.poisson(self.rate(seconds + 0.5))
        return np.asarray(np.sort(np.repeat(seconds, counts) + chance.random(counts.sum())), np.float64)


def _day(at_s: Floats) -> Floats:
    hour = 6 + at_s / HOUR_S
    morning, afternoon = np.exp(-(((hour - 9.5) / 1.6) ** 2)), np.exp(-(((hour - 14.5) / 1.8) ** 2))
    return np.asarray(8 + 190 * morning + 110 * afternoon, np.float64)


def _burst(at_s: Floats) -> Floats:
    minute = at_s / 60
    up = np.clip((minute - 30) / 8, 0, 1)
    down = np.exp(-np.clip(minute - 75, 0, None) / 12)
    return np.asarray(50 + 170 * up * down, np.float64)


def _night(at_s: Floats) -> Floats:
    minute = at_s / 60
    up, down = np.clip((minute - 30) / 10, 0, 1), np.clip((140 - minute) / 5, 0, 1)
    return np.asarray(8 + 140 * up * down, np.float64)


def _even(at_s: Floats) -> Floats:
    return np.full_like(at_s, 150.0)


TRACES: Final[Mapping[str, Trace]] = {
    "day": Trace(
        "a laboratory's day",
        "8 + 190 exp(-((h - 9.5) / 1.6)²) + 110 exp(-((h - 14.5) / 1.8)²) at hour h, 6 to 20",
        14 * HOUR_S,
        _day,
    ),
    "burst": Trace(
        "a morning burst",
        "50; from minute 30 in 8 minutes to 220; from minute 75 back with a time constant of 12 minutes",
        2.5 * HOUR_S,
        _burst,
    ),
    "night": Trace(
        "a batch at night",
        "8; from minute 30 in 10 minutes to 148; from minute 135 in 5 minutes back",
        3 * HOUR_S,
        _night,
    ),
    "lost": Trace(
        "replicas lost",
        "150; at minute 20 a replica of triton-detection is lost, at minute 35 a detector, at minute 50 a gateway",
        1.25 * HOUR_S,
        _even,
        ((1200.0, "triton-detection"), (2100.0, "detector"), (3000.0, "gateway")),
    ),
}
