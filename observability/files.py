"""What lies in deploy/observability: specifications that are read, and files that are written from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from observability import baseline, burn, conditions, drift
from observability.baseline import Baseline
from observability.drift import Drift
from observability.rules import RUNBOOKS, Group, as_yaml
from observability.specification import Conditions, Service, load
from observability.windows import Scale

ROOT: Final = Path(__file__).resolve().parent.parent
DEPLOY: Final = ROOT / "deploy" / "observability"
SERVICES: Final = ("gateway", "detector", "classifier")
KUBERNETES_RULES: Final = ROOT / "deploy" / "k8s" / "components" / "monitoring" / "rules.yaml"
COMMENT: Final = "Written by `python -m observability` from deploy/observability/slos; change those."


@dataclass(frozen=True)
class Specifications:
    """All that is written by hand, and the recorded baseline."""

    services: tuple[Service, ...]
    conditions: Conditions
    drift: Drift
    baseline: Baseline


def read(folder: Path = DEPLOY) -> Specifications:
    """All specifications.

    Raises:
        InvalidSpecification: one of them does not say what it has to.
    """
    slos = folder / "slos"
    return Specifications(
        tuple(load(slos / f"{name}.yaml", Service) for name in SERVICES),
        load(slos / "conditions.yaml", Conditions),
        load(slos / "drift.yaml", Drift),
        baseline.load(folder / "baseline.json"),
    )


def groups(told: Specifications, scale: Scale = Scale()) -> dict[str, list[Group]]:
    """All rules, by the name of their file."""
    return {
        **{service.service: burn.groups(service, scale) for service in told.services},
        "conditions": conditions.groups(told.conditions, scale),
        "drift": drift.groups(told.drift, told.baseline, scale),
    }


def rule_files(told: Specifications, scale: Scale = Scale(), runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Rules as Prometheus reads them, by the file's name.

    Args:
        runbooks: where alerts link to: the address of the folder docs/runbooks, as somebody reaches it who is woken.
    """
    return {
        f"{name}.yaml": as_yaml({"groups": [group.written(runbooks) for group in written]}, COMMENT)
        for name, written in groups(told, scale).items()
    }


def kubernetes_rules(told: Specifications, runbooks: str = RUNBOOKS) -> str:
    """The same rules as the Prometheus operator reads them: one PrometheusRule.

    Args:
        runbooks: see `rule_files`.
    """
    every = [group.written(runbooks) for _, written in sorted(groups(told).items()) for group in written]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "hemaserve", "namespace": "hemaserve"},
        "spec": {"groups": every},
    }
    return as_yaml(resource, COMMENT)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, and remove others of their ending that lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in {Path(name).suffix for name in files} and path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def stale(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Names of files that are missing, differ, or should not be there."""
    there = (
        {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} if folder.is_dir() else {}
    )
    return sorted(name for name in {*there, *files} if there.get(name) != files.get(name))
