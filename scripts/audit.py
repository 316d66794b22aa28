"""Looks up known vulnerabilities of what the images are made of, and never says "none" where nothing was looked up.

    python scripts/audit.py [--database DIR] [LOCK ...]

Asks PyPI's database by `pip-audit`; with `--database`, a folder of advisories in OSV's JSON format is asked in its
place, so that a site without a way out can bring one. Exit status: 0 all packages were looked up and none is known to
be vulnerable; 1 some are; 3 some or all could not be looked up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = tuple(sorted((ROOT / "deploy" / "requirements").glob("*.txt")))

CLEAN, VULNERABLE, NOT_CHECKED = 0, 1, 3

CANARY = "jinja2==2.10"
"""Known to be vulnerable (CVE-2019-10906): a database that does not know it knows nothing."""

Pin = tuple[str, str]
"""A package's canonical name, and its version."""


@dataclass
class Answer:
    """What a database knows."""

    vulnerable: dict[Pin, list[str]] = field(default_factory=dict)
    """Ids of advisories by package."""
    unknown: list[Pin] = field(default_factory=list)
    """Packages that could not be looked up."""


def pins(lock: str) -> Iterator[Pin]:
    """The packages of a lock."""
    for line in lock.replace("\\\n", " ").splitlines():
        text = line.partition(" --hash")[0].strip()
        if text and not text.startswith("#"):
            requirement = Requirement(text)
            (exactly,) = requirement.specifier
            yield canonicalize_name(requirement.name), exactly.version


def ask_online(wanted: list[Pin]) -> Answer:
    """What PyPI's database knows; nothing at all where it cannot be reached."""
    with tempfile.TemporaryDirectory() as folder:
        lock, report = Path(folder) / "lock.txt", Path(folder) / "report.json"
        lock.write_text("".join(f"{name}=={version}\n" for name, version in wanted))
        command = [
            *(sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps", "--disable-pip"),
            *("--format", "json", "--output", str(report), "--progress-spinner", "off", "--timeout", "15"),
        ]
        subprocess.run(command, capture_output=True, check=False)
        if not report.exists():
            return Answer(unknown=list(wanted))
        return of_report(json.loads(report.read_text()), wanted)


def of_report(report: dict[str, Any], wanted: list[Pin]) -> Answer:
    """What `pip-audit` reports. It counts a package that it could not look up as one without vulnerabilities."""
    answer, looked_up = Answer(), set()
    for entry in report["dependencies"]:
        if "skip_reason" in entry:
            continue
        pin = (canonicalize_name(entry["name"]), entry["version"])
        looked_up.add(pin)
        if entry["vulns"]:
            answer.vulnerable[pin] = sorted(vulnerability["id"] for vulnerability in entry["vulns"])
    answer.unknown = [pin for pin in wanted if pin not in looked_up]
    return answer


def ask_folder(folder: Path, wanted: list[Pin]) -> Answer:
    """What a folder of advisories knows; all of one ecosystem in one folder, as OSV exports them."""
    answer, advisories = Answer(), [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]
    if not advisories:
        return Answer(unknown=list(wanted))
    for pin in wanted:
        ids = [
            advisory["id"]
            for advisory in advisories
            if not advisory.get("withdrawn")
            and any(_affects(affected, pin) for affected in advisory.get("affected", []))
        ]
        if ids:
            answer.vulnerable[pin] = ids
    return answer


def _affects(affected: dict[str, Any], pin: Pin) -> bool:
    """Whether one entry of an advisory is about the package (https://ossf.github.io/osv-schema, "Evaluation")."""
    name, version = pin
    package = affected.get("package", {})
    if package.get("ecosystem") != "PyPI" or canonicalize_name(package.get("name", "")) != name:
        return False
    if version in affected.get("versions", []):
        return True
    return any(
        _within(entry["events"], Version(version))
        for entry in affected.get("ranges", [])
        if entry.get("type") == "ECOSYSTEM"
    )


def _within(events: list[dict[str, str]], version: Version) -> bool:
    def at(event: dict[str, str]) -> Version:
        (text,) = event.values()
        try:
            return Version(text)
        except InvalidVersion:
            return Version("0")

    vulnerable = False
    for event in sorted(events, key=at):
        if "introduced" in event and version >= at(event):
            vulnerable = True
        elif ("fixed" in event and version >= at(event)) or (
            "last_affected" in event and version > at(event)
        ):
            vulnerable = False
    return vulnerable


def audit(wanted: list[Pin], database: Path | None) -> int:
    """Looks the packages up, says what is known, and returns the exit status."""
    (canary,) = pins(CANARY)
    asked = [*wanted, canary]
    answer = ask_online(asked) if database is None else ask_folder(database, asked)
    source = "PyPI's database" if database is None else str(database)
    if not answer.vulnerable.pop(canary, None):
        print(
            f"NOTHING WAS CHECKED: {source} cannot be reached, or does not know that {CANARY} is vulnerable."
        )
        print(
            "Where there is no way out, bring advisories in OSV's format and name their folder: --database DIR"
        )
        return NOT_CHECKED
    for (name, version), ids in answer.vulnerable.items():
        print(f"VULNERABLE: {name} {version}: {', '.join(ids)}")
    for name, version in answer.unknown:
        print(f"not checked: {name} {version} is not known to {source}")
    print(f"{len(wanted) - len(answer.unknown)} of {len(wanted)} packages were looked up in {source}")
    return VULNERABLE if answer.vulnerable else NOT_CHECKED if answer.unknown else CLEAN


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("locks", nargs="*", type=Path, default=LOCKS, metavar="LOCK")
    parser.add_argument("--database", type=Path, help="folder of advisories in OSV's JSON format")
    options = parser.parse_args(arguments)
    wanted = sorted({pin for lock in options.locks for pin in pins(lock.read_text())})
    return audit(wanted, options.database)


if __name__ == "__main__":
    sys.exit(main())
