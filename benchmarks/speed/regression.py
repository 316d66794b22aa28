"""Whether it became slower: the cheap ratios against those that were recorded. `python -m benchmarks regression`

Measures what `bars --quick` and `empty --quick` do (without the networks in fp32), and compares each ratio with the one
in docs/performance/baseline.json. Ratios are of neighbours in time on one machine, so that another machine, or a busy
one, moves both sides. A ratio is worse when it is beyond the recorded median by more than the recorded rounds were
apart, and by more than a tenth at least. Exits with 1 when one is. --record writes what was measured as the baseline.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import commit, facts
from benchmarks.speed import bars, empty
from benchmarks.speed.session import write

BASELINE: Final = Path("docs/performance/baseline.json")
LEAST_TOLERANCE: Final = 0.1
COMMAND: Final = "python -m benchmarks regression --record"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio that is compared.

    Attributes:
        what: in words.
        more_is_better: whether it is.
    """

    what: str
    more_is_better: bool


RATIOS: Final = {
    "fields": Ratio("fields a second through the gateway, over the networks alone", more_is_better=True),
    "pipeline": Ratio(
        "fields a second through the gateway, over the pipeline in processes", more_is_better=True
    ),
    "alone": Ratio("a field alone, over its networks' times", more_is_better=False),
    "crops": Ratio("crops a second through Classify, over Triton directly", more_is_better=True),
    "own": Ratio("our own processor time a field, over that of bare hops", more_is_better=False),
}


def measure(repository: Path) -> dict[str, Any]:
    """The spread of each ratio, by name."""
    found = bars.measure(bars.QUICK, repository, ["fields", "crops"])
    nothing = empty.measure(repository, empty.CELLS, rounds=3, seconds=4.0)
    bare_ms = sum(nothing["bare_ms"].values())
    return {
        "fields": found["fields"]["ratio"],
        "pipeline": found["fields"]["pipeline"]["ratio"],
        "alone": found["fields"]["alone"]["ratio"],
        "crops": found["crops"]["ratio"],
        "own": {key: nothing["own_ms"][key] / bare_ms for key in ("median", "min", "max")},
    }


def compared(
    baseline: Mapping[str, Mapping[str, float]], now: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, bool]]:
    """A line for each ratio, and whether it is worse; one that was not recorded cannot be."""
    lines = []
    for name, ratio in RATIOS.items():
        if name not in baseline:
            lines.append((f"{ratio.what}: {now[name]['median']:.3g}, not recorded before", False))
            continue
        before, after = baseline[name], now[name]["median"]
        tolerance = max(LEAST_TOLERANCE, (before["max"] - before["min"]) / before["median"])
        change = after / before["median"] - 1
        worse = (-change if ratio.more_is_better else change) > tolerance
        said = f"{after:.3g} against {before['median']:.3g}, {change:+.0%} (noise up to {tolerance:.0%})"
        lines.append((f"{ratio.what}: {said}", worse))
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--record", action="store_true", help="write the baseline instead of comparing with it"
    )
    parser.add_argument(
        "--baseline", type=Path, default=BASELINE, metavar="FILE", help="what to compare with"
    )
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    asked = parser.parse_args(arguments)
    if not asked.record and not asked.baseline.exists():
        raise SystemExit(f"there is no baseline at {asked.baseline}; {COMMAND} writes one")
    now = measure(asked.repository)
    if asked.record:
        write(
            asked.baseline, {"command": COMMAND, **facts(), "commit": commit(), "claims": [], "ratios": now}
        )
        return
    before = json.loads(asked.baseline.read_text(encoding="utf-8"))["ratios"]
    lines = compared(before, now)
    for line, worse in lines:
        print(f"{'WORSE' if worse else 'ok':6} {line}")
    if any(worse for _, worse in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
