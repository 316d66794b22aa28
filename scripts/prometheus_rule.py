"""Writes the monitoring component's PrometheusRule from Prometheus' own rule files in deploy/observability/rules.

python scripts/prometheus_rule.py [--check]
"""

import sys
from pathlib import Path
from typing import Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
RULES: Final = ROOT / "deploy" / "observability" / "rules"
TARGET: Final = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "rules.yaml"
_HEAD: Final = "# Written by scripts/prometheus_rule.py from deploy/observability/rules; change those.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def manifest(rules: Path = RULES) -> str:
    """The PrometheusRule with the groups of all files, in order of their names."""
    groups = [
        group
        for path in sorted(rules.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hemaserve", "namespace": "hemaserve"},
        "spec": {"groups": groups},
    }
    return _HEAD + yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=110)


def main(arguments: list[str]) -> int:
    """Write it, or with --check fail where it is not current; returns the exit status."""
    if arguments != ["--check"]:
        TARGET.write_text(manifest(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != manifest():
        sys.stderr.write("error: not current: run python scripts/prometheus_rule.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
