"""How long to look back, and how fast an error budget may burn meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["page", "ticket"]
"""`page`: somebody is woken. `ticket`: somebody looks on the next working day."""

_UNITS: Final[Mapping[str, int]] = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


@dataclass(frozen=True, slots=True)
class Burn:
    """A budget that burns too fast: over a long window, and still so over a short one, which ends the alert soon.

    Attributes:
        factor: so many times the rate that spends the budget exactly within the period.
        long_s: seconds.
        short_s: seconds.
    """

    factor: float
    long_s: int
    short_s: int
    severity: Severity


HOUR: Final = 3600
DAY: Final = 24 * HOUR
PERIOD: Final = 30 * DAY
"""What an error budget is for; the factors below are of a period of thirty days."""

BURNS: Final = (
    Burn(14.4, HOUR, 5 * 60, "page"),
    Burn(6, 6 * HOUR, 30 * 60, "page"),
    Burn(3, DAY, 2 * HOUR, "ticket"),
    Burn(1, 3 * DAY, 6 * HOUR, "ticket"),
)
"""2% of the budget in an hour, 5% in six, 10% in a day, 10% in three, and short windows of a twelfth of the long ones:
"The Site Reliability Workbook" (Beyer et al., 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much shorter all windows are than they are called: 1, but for tests that cannot wait."""

    divisor: float = 1
    every_s: float | None = None
    """How often rules are evaluated, in seconds, where that is not to be as usual."""

    def every(self, usual_s: float) -> float:
        """How often rules are evaluated, in seconds."""
        return usual_s if self.every_s is None else self.every_s

    def window(self, seconds: float) -> str:
        """A window of this name, in PromQL."""
        return duration(seconds / self.divisor)


def duration(seconds: float) -> str:
    """Seconds in Prometheus' words, e.g. `1h30m`; to the millisecond.

    Raises:
        ValueError: less than a millisecond.
    """
    left = round(seconds * 1000)
    if left < 1:
        raise ValueError(f"duration: {seconds} s; allowed: a millisecond or more")
    words = ""
    for unit, length in _UNITS.items():
        count, left = divmod(left, length)
        words += f"{count}{unit}" if count else ""
    return words
