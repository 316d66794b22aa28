"""`python -m benchmarks.capacity COMMAND`: measure a real stack, or predict from what was measured."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from benchmarks.capacity.comparing import compare, fitted
from benchmarks.capacity.measuring import measure
from benchmarks.capacity.profile import load_measured
from benchmarks.capacity.sizing import RATES, one_machine, size

FOLDER: Final = Path("docs/scaling")
SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def predict(measured: dict[str, Any], rates: tuple[float, ...] = RATES) -> dict[str, Any]:
    """What the simulation says of the loads that were measured, and of greater ones."""
    profile = fitted(measured)
    return {
        "measured_sha256": hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest(),
        "fitted": {"aside": round(profile.aside, 4), "hop_ms": round(1000 * profile.hop_s, 3)},
        "role_ms": {role: round(1000 * seconds, 2) for role, seconds in profile.role_s().items()},
        "compared": compare(measured, profile),
        "one_machine": one_machine(profile, measured["machine"]["cores"], SHARES),
        "sizes": [size(profile, rate) for rate in rates],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser(
        "measure", help="measure a real stack on this machine, which should be idle"
    )
    measuring.add_argument("--warm-up-s", type=float, default=5.0)
    measuring.add_argument("--closed-s", type=float, default=10.0)
    measuring.add_argument("--open-s", type=float, default=15.0)
    measuring.add_argument("--again", action="store_true", help="only loads that other work had disturbed")
    measuring.add_argument("--json", type=Path, default=FOLDER / "measured.json")
    predicting = commands.add_parser(
        "predict", help="simulate the loads that were measured, and greater ones"
    )
    predicting.add_argument("--json", type=Path, default=FOLDER / "predicted.json")
    predicting.add_argument("--most", type=float, default=RATES[-1], help="fields a second, at most")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        before = json.loads(arguments.json.read_text()) if arguments.again else None
        found = measure(arguments.warm_up_s, arguments.closed_s, arguments.open_s, before)
    else:
        found = predict(load_measured(), tuple(rate for rate in RATES if rate <= arguments.most))
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
