"""What was chosen, as Kubernetes is told it: the manifests of both autoscaling components, from what was simulated."""

from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.autoscaling import hpa, keda
from benchmarks.autoscaling.choosing import KEDA, Candidate, chosen, specs
from benchmarks.autoscaling.queries import QUERIES
from benchmarks.capacity.profile import Profile

COMPONENTS: Final = Path("deploy/k8s/components")
PROMETHEUS: Final = "http://prometheus-operated.monitoring.svc:9090"

_HEADER: Final = "# Written by `python -m benchmarks.capacity.page`, see docs/scaling.md. Edits are lost.\n"

Manifest = dict[str, Any]


def written(profile: Profile, rows: list[dict[str, Any]]) -> dict[Path, str]:
    """The text of each file, from the rows of the table."""
    by_keda = specs(profile, Candidate.of(chosen(rows, KEDA)))
    by_hpa = specs(profile, Candidate.of(chosen(rows, ("cpu",))))
    return {
        COMPONENTS / "autoscaling-keda" / "scaling.yaml": _text(
            map(scaled_object, by_keda, by_keda.values())
        ),
        COMPONENTS / "autoscaling-hpa" / "scaling.yaml": _text(map(autoscaler, by_hpa, by_hpa.values())),
    }


def scaled_object(role: str, spec: keda.ScaledObject) -> Manifest:
    """A ScaledObject."""
    told: Manifest = {
        "scaleTargetRef": {"name": role},
        "pollingInterval": int(spec.polling_interval_s),
        "minReplicaCount": spec.min_replica_count,
        "maxReplicaCount": spec.max_replica_count,
    }
    if spec.fallback is not None:
        told["fallback"] = {
            "failureThreshold": spec.fallback.failure_threshold,
            "replicas": spec.fallback.replicas,
            "behavior": spec.fallback.behavior.value,
        }
    told["advanced"] = {"horizontalPodAutoscalerConfig": {"behavior": _behavior(spec.behavior)}}
    told["triggers"] = [] if spec.cores is None else [_processors(spec.cores)]
    told["triggers"] += [_prometheus(role, trigger) for trigger in spec.triggers]
    return _named("keda.sh/v1alpha1", "ScaledObject", role, told)


def autoscaler(role: str, spec: keda.ScaledObject) -> Manifest:
    """A HorizontalPodAutoscaler of what needs nothing but the metrics server.

    Raises:
        ValueError: it needs more.
    """
    if spec.triggers or spec.cores is None:
        raise ValueError(f"spec: {role} scales by more than processors; an HPA alone cannot")
    target = {"type": "AverageValue", "averageValue": _quantity(spec.cores)}
    told = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": role},
        "minReplicas": spec.min_replica_count,
        "maxReplicas": spec.max_replica_count,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": _behavior(spec.behavior),
    }
    return _named("autoscaling/v2", "HorizontalPodAutoscaler", role, told)


def _named(version: str, kind: str, role: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": role, "namespace": "hemaserve"},
        "spec": spec,
    }


def _processors(cores: float) -> Manifest:
    return {
        "type": "cpu",
        "name": "processors",
        "metricType": "AverageValue",
        "metadata": {"value": _quantity(cores)},
    }


def _prometheus(role: str, trigger: keda.Trigger) -> Manifest:
    metadata = {
        "serverAddress": PROMETHEUS,
        "threshold": f"{trigger.threshold:g}",
        "activationThreshold": f"{trigger.activation:g}",
        "ignoreNullValues": str(trigger.ignores_null).lower(),
        "query": QUERIES[f"{role}/{trigger.name}"],
    }
    return {"type": "prometheus", "name": trigger.name, "metricType": "AverageValue", "metadata": metadata}


def _behavior(behavior: hpa.Behavior) -> Manifest:
    return {"scaleUp": _rules(behavior.up), "scaleDown": _rules(behavior.down)}


def _rules(rules: hpa.Rules) -> Manifest:
    return {
        "stabilizationWindowSeconds": int(rules.window_s),
        "selectPolicy": rules.select.value,
        "policies": [
            {"type": policy.type.value, "value": policy.value, "periodSeconds": int(policy.period_s)}
            for policy in rules.policies
        ],
    }


def _quantity(cores: float) -> str:
    """So many cores, in Kubernetes' thousandths."""
    return f"{round(1000 * cores)}m"


class _Plain(yaml.SafeDumper):
    """Without anchors for what is the same in several places."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(manifests: Any) -> str:
    return _HEADER + yaml.dump_all(manifests, Dumper=_Plain, sort_keys=False, width=118)
