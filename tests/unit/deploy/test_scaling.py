"""What scales: every workload, within its bounds, by signals that there are."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.metrics import RpcMetrics

from .reading import WORKLOADS, Deployed

COMPONENTS = Path(__file__).parents[3] / "deploy" / "k8s" / "components"
REPOSITORY = Path(__file__).parents[3] / "model_repository"
TRITONS_OWN = {"nv_inference_compute_infer_duration_us", "nv_inference_queue_duration_us"}
"""tests/integration/triton holds the real Triton to these."""

every_workload = pytest.mark.parametrize("workload", WORKLOADS)


def env(component: str) -> dict[str, str]:
    lines = (COMPONENTS / component / "scaling.env").read_text().splitlines()
    return dict(line.split("=") for line in lines if not line.startswith("#"))


@pytest.fixture(params=["cpu-production", "gpu-production"])
def scaled(request, built) -> Deployed:
    return Deployed(built[request.param])


@every_workload
def test_the_numbers_are_those_of_the_file(scaled, workload):
    told = env("autoscaling-keda")
    spec = scaled.of("ScaledObject")[workload]["spec"]
    assert spec["minReplicaCount"] == spec["fallback"]["replicas"] == int(told[f"{workload}-least"])
    assert spec["maxReplicaCount"] == int(told[f"{workload}-most"]) > spec["minReplicaCount"]
    calm = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"][
        "stabilizationWindowSeconds"
    ]
    assert calm == int(told[f"{workload}-calm-seconds"])


@every_workload
def test_each_signal_has_its_threshold_in_the_file(built, workload):
    told = env("autoscaling-keda")
    for trigger in Deployed(built["cpu-production"]).of("ScaledObject")[workload]["spec"]["triggers"]:
        assert trigger["metadata"]["threshold"] == told.pop(f"{workload}-{trigger['name']}")
        assert float(trigger["metadata"]["threshold"]) > 0
        assert trigger["metricType"] == "AverageValue", "all signals add up over replicas"
    rest = {name for name in told if re.fullmatch(rf"{workload}-(?!least|most|calm-seconds).*", name)}
    assert not rest, "a threshold of no signal"


@every_workload
def test_replicas_are_left_to_what_scales(scaled, fallback, workload):
    for deployed in (scaled, fallback):
        assert "replicas" not in deployed.of("Deployment")[workload]["spec"]


@every_workload
def test_the_fallback_scales_the_same_within_the_same_bounds(scaled, fallback, workload):
    keda, hpa = (
        scaled.of("ScaledObject")[workload]["spec"],
        fallback.of("HorizontalPodAutoscaler")[workload]["spec"],
    )
    told = env("autoscaling-hpa")
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (keda["minReplicaCount"], keda["maxReplicaCount"])
    (metric,) = hpa["metrics"]
    assert metric["resource"]["target"]["averageUtilization"] == int(told[f"{workload}-cpu-percent"])
    assert "cpu" in fallback.container(workload)["resources"]["requests"], "of which it is the percentage"


def test_nothing_is_scaled_twice(scaled, fallback):
    assert set(scaled.of("ScaledObject")) == set(fallback.of("HorizontalPodAutoscaler")) == set(WORKLOADS)
    assert not scaled.of("HorizontalPodAutoscaler")
    assert not fallback.of("ScaledObject")


def metrics(query: str) -> set[str]:
    return set(re.findall(r"\b(?:hemaserve|nv)_\w+", query))


def test_every_signal_is_one_that_is_shown(scaled):
    registry = CollectorRegistry()
    shown = {
        name
        for family in (*_families(registry, RpcMetrics(registry)), *AdmissionMetrics().registry.collect())
        for name in (family.name, f"{family.name}_total")
    }
    for one in scaled.of("ScaledObject").values():
        for trigger in one["spec"]["triggers"]:
            assert metrics(trigger["metadata"]["query"])
            assert metrics(trigger["metadata"]["query"]) <= shown | TRITONS_OWN


def _families(registry: CollectorRegistry, _: RpcMetrics):
    return registry.collect()


def instances(triton: Deployed, workload: str) -> int:
    """How many of its networks' instances one replica has of what it loads at the start, the vote left out."""
    options = triton.options(workload)
    config = (REPOSITORY / options["load-model"] / "config.pbtxt").read_text()
    members = re.findall(r'model_name: "(\w+)"', config) or [options["load-model"]]
    own = [
        (REPOSITORY / member / "configs" / f"{options['model-config-name']}.pbtxt").read_text()
        for member in members
        if member != "vote"
    ]
    return sum(int(re.search(r"instance_group \[ \{ kind: \w+ count: (\d+) \} \]", text)[1]) for text in own)


@pytest.mark.parametrize("workload", ["triton-detection", "triton-classification"])
def test_more_replicas_come_before_all_instances_are_at_work(scaled, workload):
    triggers = {
        one["name"]: one["metadata"] for one in scaled.of("ScaledObject")[workload]["spec"]["triggers"]
    }
    share = float(triggers["busy"]["threshold"]) / instances(scaled, workload)
    assert 0.3 <= share <= 0.9


def test_gateways_come_before_a_line_forms_that_is_as_long_as_what_one_lets_in(scaled):
    triggers = {
        one["name"]: one["metadata"] for one in scaled.of("ScaledObject")["gateway"]["spec"]["triggers"]
    }
    at_once = scaled.settings("gateway").fields_at_once
    assert at_once < float(triggers["in-flight"]["threshold"]) < 2 * at_once


def test_prometheus_is_where_scrapes_are_allowed_from(scaled):
    policies = yaml.safe_dump(list(scaled.of("NetworkPolicy").values()))
    for one in scaled.of("ScaledObject").values():
        for trigger in one["spec"]["triggers"]:
            host = re.match(r"http://([\w.-]+):9090$", trigger["metadata"]["serverAddress"])[1]
            assert f"kubernetes.io/metadata.name: {host.split('.')[1]}" in policies
