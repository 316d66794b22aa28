"""Write all that is made of the specifications.

python -m observability [--check] [--runbooks URL]
"""

import argparse

from observability.files import DEPLOY, KUBERNETES_RULES, kubernetes_rules, read, rule_files, stale, write
from observability.grafana import dashboard_files
from observability.page import load_recorded, stale_pages, write_pages
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
    told, recorded = read(), load_recorded()
    written = {
        DEPLOY / "rules": rule_files(told, runbooks=arguments.runbooks),
        DEPLOY / "dashboards": dashboard_files(),
    }
    if arguments.check:
        late = [f"{folder.name}/{name}" for folder, files in written.items() for name in stale(folder, files)]
        late += stale_pages(told, recorded)
        if KUBERNETES_RULES.read_text(encoding="utf-8") != kubernetes_rules(told, arguments.runbooks):
            late.append(KUBERNETES_RULES.name)
        if late:
            raise SystemExit(f"not current: {', '.join(late)}; run python -m observability")
        return
    for folder, files in written.items():
        write(folder, files)
    KUBERNETES_RULES.write_text(kubernetes_rules(told, arguments.runbooks), encoding="utf-8")
    write_pages(told, recorded)


if __name__ == "__main__":
    main()
