"""`python -m benchmarks.autoscaling`: try all candidates on all traces and write the table."""

import argparse
import json
from pathlib import Path

from benchmarks.autoscaling.choosing import KEDA, SEEDS, Candidate, checked, chosen, draw, table
from benchmarks.capacity.profile import load_measured, profile_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("docs/scaling/autoscaling.json"))
    arguments = parser.parse_args()
    profile = profile_of(load_measured())
    found = table([draw(profile, seed) for seed in SEEDS])
    best = [Candidate.of(chosen(found["rows"], kinds)) for kinds in (KEDA, ("cpu",))]
    found["checked"] = checked(profile, best)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
