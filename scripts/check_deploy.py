"""Checks checkov's policies on all overlays; findings have to be explained in deploy/k8s/policy-exceptions.yaml.

    python scripts/check_deploy.py --checkov PATH

Exit status: 0 nothing unexplained; 1 something is, or an explanation is of no use; 3 checkov did not check.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from manifests import KUBERNETES, OVERLAYS, Manifest, build

FINE, FOUND, NOT_CHECKED = 0, 1, 3
EXCEPTIONS: Final = KUBERNETES / "policy-exceptions.yaml"

CANARY: Final[Manifest] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "canary", "namespace": "canary"},
    "spec": {
        "hostPID": True,
        "containers": [{"name": "c", "image": "c", "securityContext": {"privileged": True}}],
    },
}
"""Breaks many policies: where nothing is found in it, nothing was looked at."""
CANARY_FINDINGS: Final = frozenset({"CKV_K8S_16", "CKV_K8S_17"})
"""Privileged; shares the host's processes."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A policy that a resource breaks."""

    check: str
    name: str
    where: str


class NotChecked(Exception):
    """checkov gave no report, or not of all that it was given."""


def ask(checkov: Path, given: Mapping[str, Iterable[Manifest]]) -> dict[str, list[Finding]]:
    """What checkov finds, by the name of each set of manifests.

    Raises:
        NotChecked: it did not look at all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.yaml" for name in given]
        for file, manifests in zip(files, given.values(), strict=True):
            file.write_text(yaml.safe_dump_all(list(manifests)), encoding="utf-8")
        command = [
            str(checkov),
            "--framework",
            "kubernetes",
            "--skip-download",
            "--quiet",
            "--compact",
            "--output",
            "json",
        ]
        done = subprocess.run(
            [*command, *(word for file in files for word in ("--file", str(file)))],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        reports = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise NotChecked(done.stderr.strip() or done.stdout.strip()) from None
    return findings(reports if isinstance(reports, list) else [reports], given)


def findings(reports: Iterable[Mapping[str, Any]], given: Iterable[str]) -> dict[str, list[Finding]]:
    """The findings of checkov's reports, by the files' names.

    Raises:
        NotChecked: a report is of nothing, or a file could not be read.
    """
    found: dict[str, list[Finding]] = {name: [] for name in given}
    for report in reports:
        if "results" not in report or report["summary"]["parsing_errors"]:
            raise NotChecked(f"checkov could not read all: {report.get('summary', report)}")
        for failed in report["results"]["failed_checks"]:
            name = Path(failed["file_path"]).stem
            found[name].append(Finding(failed["check_id"], failed["check_name"], failed["resource"]))
    if not {finding.check for finding in found["canary"]} >= CANARY_FINDINGS:
        raise NotChecked("checkov found nothing wrong with a pod that breaks its policies on purpose")
    return found


def judge(found: Mapping[str, list[Finding]], explained: Mapping[str, str]) -> list[str]:
    """What is wrong, one sentence each: findings without a reason, and reasons without a finding."""
    everything = {finding for name, some in found.items() if name != "canary" for finding in some}
    wrong = [
        f"{one.check} {one.name}: {one.where}" for one in sorted(everything) if one.check not in explained
    ]
    wrong += [
        f"{check}: explained, and found nowhere"
        for check in explained
        if check not in {f.check for f in everything}
    ]
    return wrong + [
        f"{check}: no reason is given" for check, why in explained.items() if len(why.split()) < 10
    ]


def main() -> int:
    """Check all overlays; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkov", type=Path, required=True, metavar="PATH", help="the program; it is no dependency"
    )
    checkov = parser.parse_args().checkov
    given = {name: build(KUBERNETES / "overlays" / name) for name in OVERLAYS} | {"canary": [CANARY]}
    explained = yaml.safe_load(EXCEPTIONS.read_text(encoding="utf-8"))
    try:
        found = ask(checkov, given)
    except NotChecked as error:
        sys.stderr.write(f"error: nothing was checked: {error}\n")
        return NOT_CHECKED
    wrong = judge(found, explained)
    for sentence in wrong:
        sys.stderr.write(f"error: {sentence}\n")
    some = sum(len(found[name]) for name in OVERLAYS)
    sys.stdout.write(
        f"{len(OVERLAYS)} overlays, {some} findings of {len(explained)} explained kinds, {len(wrong)} wrong\n"
    )
    return FOUND if wrong else FINE


if __name__ == "__main__":
    sys.exit(main())
