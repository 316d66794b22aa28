"""How pods run: with no rights, probed truly, apart from each other, and with what was measured that they need."""

import json
import re
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from hemaserve.v1 import gateway_pb2
from services.runtime.health import ALIVE

from .reading import SETTINGS, TRITONS, WORKLOADS, Deployed, quantity

ROOT = Path(__file__).parents[3]
OVERLOAD = json.loads((ROOT / "docs" / "reliability" / "overload.json").read_text())

every_workload = pytest.mark.parametrize("workload", WORKLOADS)
every_service = pytest.mark.parametrize("service", SETTINGS)
every_triton = pytest.mark.parametrize("triton", TRITONS)


def unrestricted(deployed: Deployed) -> list[str]:
    """Where pods ask for more than Kubernetes' standard `restricted` grants, or than ours does."""
    wrong = []
    for name in deployed.of("Deployment"):
        pod = deployed.pod(name)
        context = pod["securityContext"]
        if not context.get("runAsNonRoot") or context.get("runAsUser", 0) < 10_000:
            wrong.append(f"{name} runs as root, or as somebody whom the node may know")
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            wrong.append(f"{name} may make any system call")
        if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            wrong.append(f"{name} shares the host's")
        if pod.get("automountServiceAccountToken") is not False:
            wrong.append(f"{name} has a token")
    for name, one in deployed.containers():
        expected = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if one.get("securityContext") != expected:
            wrong.append(f"{name}, {one['name']}: {one.get('securityContext')}")
    return wrong


def test_pods_have_no_rights(deployed):
    assert unrestricted(deployed) == []
    assert (
        deployed.of("Namespace")["hemaserve"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    assert all(one["automountServiceAccountToken"] is False for one in deployed.of("ServiceAccount").values())


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.pod("gateway")["securityContext"].update(runAsUser=0),
        lambda one: one.pod("gateway")["securityContext"].pop("seccompProfile"),
        lambda one: one.pod("gateway").update(hostNetwork=True),
        lambda one: one.pod("gateway").update(automountServiceAccountToken=True),
        lambda one: one.pod("triton-detection")["initContainers"][0].pop("securityContext"),
        lambda one: one.container("detector")["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    ],
)
def test_more_rights_are_found(broken, change):
    assert unrestricted(broken(change))


@every_service
def test_services_are_probed_at_the_port_that_needs_no_tls(deployed, service):
    one = deployed.container(service)
    port = int(deployed.settings(service).health_listen.rpartition(":")[2])
    assert one["startupProbe"]["grpc"] == one["livenessProbe"]["grpc"] == {"port": port, "service": ALIVE}
    assert one["readinessProbe"]["grpc"] == {"port": port}, "the service as a whole, with all that it calls"


@every_triton
def test_triton_with_tls_is_probed_inside_its_pod(deployed, triton):
    one, options = deployed.container(triton), deployed.options(triton)
    assert options["grpc-use-ssl-mutual"] == "true"
    base = f"http://{options['http-address']}:{options['http-port']}/v2/health/ready"
    for probe in ("startupProbe", "readinessProbe"):
        *curl, limit_s, url = one[probe]["exec"]["command"]
        assert curl == ["curl", "--fail", "--silent", "--max-time"]
        assert int(limit_s) < one[probe]["timeoutSeconds"]
        assert url == base
    certificate = f"--cert {options['grpc-server-cert']} --key {options['grpc-server-key']}"
    assert certificate in infers_nothing(one, f"https://127.0.0.1:{options['grpc-port']}")


@every_triton
def test_triton_without_tls_is_probed_by_grpc(base, triton):
    one, port = base.container(triton), base.options(triton)["grpc-port"]
    for probe in ("startupProbe", "readinessProbe"):
        assert one[probe]["grpc"] == {"port": int(port)}
    infers_nothing(one, f"http://127.0.0.1:{port}")


def infers_nothing(container, base):
    """Liveness asks Triton to infer: the only thing that tells whether it has locked itself up; the command."""
    shell, option, command = container["livenessProbe"]["exec"]["command"]
    assert (shell, option) == ("bash", "-c")
    assert command.endswith(f"--data-binary @- {base}/inference.GRPCInferenceService/ModelInfer")
    (limit_s,) = re.findall(r"--max-time (\d+)", command)
    assert int(limit_s) < container["livenessProbe"]["timeoutSeconds"]
    return command


@every_workload
def test_selectors_choose_the_pods_of_their_own_workload(deployed, workload):
    spec = deployed.of("Deployment")[workload]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    budget = deployed.of("PodDisruptionBudget")[workload]["spec"]
    assert spec["selector"] == budget["selector"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert labels["app.kubernetes.io/name"] == workload
    assert budget["maxUnavailable"] == 1, "of any number of replicas, a node may be emptied one by one"


@every_workload
def test_replicas_are_spread_by_what_tells_them_from_others(deployed, workload):
    labels = deployed.of("Deployment")[workload]["spec"]["template"]["metadata"]["labels"]
    spread = deployed.pod(workload)["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for one in spread:
        assert one["labelSelector"]["matchLabels"].items() <= labels.items()
        assert one["matchLabelKeys"] == ["app.kubernetes.io/name", "pod-template-hash"]


def test_who_is_not_ready_can_be_called_where_degraded_answers_are_better_than_none(deployed):
    services = deployed.of("Service")
    lenient = {name for name in WORKLOADS if services[name]["spec"].get("publishNotReadyAddresses")}
    assert lenient == {"detector", "classifier"}


@every_service
def test_requests_are_no_less_than_what_was_measured(deployed, service, footprint):
    peak = next(one for one in OVERLOAD["phases"] if one["phase"] == "peak")
    needs = deployed.container(service)["resources"]["requests"]
    assert quantity(needs["cpu"]) >= peak["cpu_s"][service] / peak["seconds"]
    assert (
        quantity(needs["memory"]) >= max(footprint[service], OVERLOAD["memory_mib"][service]["after"]) * 2**20
    )


@every_triton
def test_the_limit_of_triton_is_no_less_than_what_was_measured(deployed, triton, shares):
    """Of all networks together: each role has a part of them."""
    networks = next(mib for name, mib in shares.items() if name.endswith("network instances"))
    limits = deployed.container(triton)["resources"]["limits"]
    assert quantity(limits["memory"]) >= (shares["tritonserver"] + networks) * 2**20


def test_callers_from_outside_reach_the_contract_of_the_gateway_and_its_health_alone(deployed):
    for route in deployed.of("GRPCRoute").values():
        names = {match["method"]["service"] for rule in route["spec"]["rules"] for match in rule["matches"]}
        assert names == {
            gateway_pb2.DESCRIPTOR.services_by_name["SmearService"].full_name,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
        }
    for service in set(deployed.of("Service")) - set(WORKLOADS):
        spec = deployed.of("Service")[service]["spec"]
        assert spec["selector"]["app.kubernetes.io/name"] == "gateway"


@every_workload
def test_prometheus_finds_every_pod_and_calls_it_as_the_rules_do(built, workload):
    deployed = Deployed(built["cpu-production"])
    labels = deployed.of("Deployment")[workload]["spec"]["template"]["metadata"]["labels"]
    spec = deployed.of("PodMonitor")["hemaserve"]["spec"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert labels[spec["jobLabel"]] == workload.partition("-")[0]
    assert labels[spec["podTargetLabels"][0]] == workload
    assert (
        {one["port"] for one in spec["podMetricsEndpoints"]}
        == {"metrics"}
        <= deployed.port_names[workload].keys()
    )
