"""What scales: every workload, exactly as it was simulated, by signals that there are."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from benchmarks.autoscaling.choosing import KEDA, Candidate, chosen, specs, thresholds
from benchmarks.autoscaling.manifests import autoscaler, scaled_object
from benchmarks.capacity.profile import load_measured, profile_of
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.metrics import RpcMetrics

from .reading import WORKLOADS, Deployed

ROOT = Path(__file__).parents[3]
REPOSITORY = ROOT / "model_repository"
ROWS = json.loads((ROOT / "docs" / "scaling" / "autoscaling.json").read_text())["rows"]
PROFILE = profile_of(load_measured(ROOT / "docs" / "scaling" / "measured.json"))
TRITONS_OWN = {"nv_inference_compute_infer_duration_us", "nv_inference_queue_duration_us"}
"""tests/integration/triton holds the real Triton to these."""

every_workload = pytest.mark.parametrize("workload", WORKLOADS)


def simulated(*kinds: str):
    """What was chosen of these kinds, by workload."""
    return specs(PROFILE, Candidate.of(chosen(ROWS, kinds)))


@pytest.fixture(params=["cpu-production", "gpu-production"])
def scaled(request, built) -> Deployed:
    return Deployed(built[request.param])


@every_workload
def test_what_is_deployed_is_what_was_simulated_and_chosen(built, workload):
    spec = simulated(*KEDA)[workload]
    assert (
        Deployed(built["cpu-production"]).of("ScaledObject")[workload]["spec"]
        == scaled_object(workload, spec)["spec"]
    )


@every_workload
def test_so_is_the_fallback(fallback, workload):
    spec = simulated("cpu")[workload]
    assert fallback.of("HorizontalPodAutoscaler")[workload]["spec"] == autoscaler(workload, spec)["spec"]


def without_work(deployed: Deployed, workload: str) -> dict:
    spec = copy.deepcopy(deployed.of("ScaledObject")[workload]["spec"])
    for trigger in spec["triggers"]:
        if trigger["name"] == "work":
            del trigger["metadata"]["threshold"]
    return spec


@every_workload
def test_for_gpus_only_the_work_that_brings_tritons_is_another(built, workload):
    cpu, gpu = (Deployed(built[name]) for name in ("cpu-production", "gpu-production"))
    assert without_work(cpu, workload) == without_work(gpu, workload)


def test_all_signals_that_lead_are_there(scaled):
    names = {
        workload: [trigger["name"] for trigger in one["spec"]["triggers"]]
        for workload, one in scaled.of("ScaledObject").items()
    }
    assert "work" in names["triton-detection"]
    assert "work" in names["triton-classification"]
    assert "refused" in names["gateway"]


@every_workload
def test_replicas_are_left_to_what_scales(scaled, fallback, workload):
    for deployed in (scaled, fallback):
        assert "replicas" not in deployed.of("Deployment")[workload]["spec"]


def test_nothing_is_scaled_twice(scaled, fallback):
    assert set(scaled.of("ScaledObject")) == set(fallback.of("HorizontalPodAutoscaler")) == set(WORKLOADS)
    assert not scaled.of("HorizontalPodAutoscaler")
    assert not fallback.of("ScaledObject")


def prometheus(one: dict) -> list[dict]:
    return [trigger for trigger in one["spec"]["triggers"] if trigger["type"] == "prometheus"]


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
        for trigger in prometheus(one):
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
def test_with_gpus_more_replicas_come_before_all_instances_are_at_work(built, workload):
    deployed = Deployed(built["gpu-production"])
    (work,) = prometheus(deployed.of("ScaledObject")[workload])
    share = float(work["metadata"]["threshold"]) / instances(deployed, workload)
    (row,) = (row for row in ROWS if row["kind"] == "mixed" and row["load"] == pytest.approx(share))
    assert row["holds"], "there is a row of the table for that load"


def test_gateways_let_in_more_than_their_cores_can_carry(built):
    """Or else they refuse what processors do not tell, by which they are scaled."""
    at_once = Deployed(built["cpu-production"]).settings("gateway").fields_at_once
    assert at_once > thresholds(PROFILE, 1.0)["gateway"]


def test_prometheus_is_where_scrapes_are_allowed_from(scaled):
    policies = yaml.safe_dump(list(scaled.of("NetworkPolicy").values()))
    for one in scaled.of("ScaledObject").values():
        for trigger in prometheus(one):
            host = re.match(r"http://([\w.-]+):9090$", trigger["metadata"]["serverAddress"])[1]
            assert f"kubernetes.io/metadata.name: {host.split('.')[1]}" in policies
