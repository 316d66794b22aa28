"""`python -m benchmarks.capacity COMMAND`: measure, predict, tune, queries, page."""

import argparse
import json
from pathlib import Path
from typing import Final

from benchmarks.capacity.measuring import measure

FOLDER: Final = Path("docs/scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser(
        "measure", help="measure a real stack on this machine, which should be idle"
    )
    measuring.add_argument("--warm-up-s", type=float, default=5.0)
    measuring.add_argument("--closed-s", type=float, default=10.0)
    measuring.add_argument("--open-s", type=float, default=18.0)
    measuring.add_argument("--again", action="store_true", help="only loads that other work had disturbed")
    measuring.add_argument("--json", type=Path, default=FOLDER / "measured.json")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        before = json.loads(arguments.json.read_text()) if arguments.again else None
        found = measure(arguments.warm_up_s, arguments.closed_s, arguments.open_s, before)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
