"""Write all that is made of the specifications.

python -m observability [--check] [--runbooks URL]
"""

import argparse

from observability.files import DEPLOY, read, rule_files, stale, write
from observability.grafana import dashboard_files
from observability.rules import RUNBOOKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m observability", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when files are not current")
    parser.add_argument(
        "--runbooks",
        default=RUNBOOKS,
        metavar="URL",
        help="where alerts' links lead: the folder docs/runbooks as those reach it who are woken",
    )
    arguments = parser.parse_args()
    told = read()
    written = {"rules": rule_files(told, runbooks=arguments.runbooks), "dashboards": dashboard_files()}
    for folder, files in written.items():
        if not arguments.check:
            write(DEPLOY / folder, files)
        elif late := stale(DEPLOY / folder, files):
            raise SystemExit(f"not current: {', '.join(late)}; run python -m observability")


if __name__ == "__main__":
    main()
