"""The network policies allow the calls that the services make, and no others."""

import copy

import pytest

from services.triton.command import tracing
from services.triton.settings import TritonSettings

from .edges import CALLERS, COLLECTOR, DNS, MONITORING, allowed, called, one_sided
from .reading import SETTINGS, TRITONS, WORKLOADS, Deployed


def test_what_is_allowed_is_what_is_called(deployed):
    assert allowed(deployed) == called(deployed)


def test_no_side_allows_what_the_other_does_not(deployed):
    assert one_sided(deployed) == set()


def test_the_calls_are_those_of_the_architecture(built):
    """Written out, so that a reader of settings who finds too few calls is found."""
    assert called(Deployed(built["cpu-production"])) == {
        (CALLERS, "gateway", 50051, "TCP"),
        ("gateway", "detector", 50052, "TCP"),
        ("gateway", "classifier", 50053, "TCP"),
        ("detector", "triton-detection", 8001, "TCP"),
        ("classifier", "triton-classification", 8001, "TCP"),
        *(
            (service, DNS, 53, how)
            for service in ("gateway", "detector", "classifier")
            for how in ("UDP", "TCP")
        ),
        (MONITORING, "gateway", 9101, "TCP"),
        (MONITORING, "detector", 9102, "TCP"),
        (MONITORING, "classifier", 9103, "TCP"),
        (MONITORING, "triton-detection", 8002, "TCP"),
        (MONITORING, "triton-classification", 8002, "TCP"),
    }


def test_with_tracing_spans_may_leave_and_nothing_else(built, traced):
    assert allowed(traced) == called(traced)
    assert one_sided(traced) == set()
    assert called(traced) - called(Deployed(built["cpu-production"])) == {
        *((service, COLLECTOR, 4317, "TCP") for service in SETTINGS),
        *((triton, COLLECTOR, 4318, "TCP") for triton in TRITONS),
        *((triton, DNS, 53, how) for triton in TRITONS for how in ("UDP", "TCP")),
    }


@pytest.mark.parametrize("triton", TRITONS)
def test_triton_traces_as_the_embedded_one_does(traced, triton):
    url = "http://opentelemetry-collector.monitoring.svc:4318/v1/traces"
    assert tuple(traced.tracing(triton)) == tracing(TritonSettings(trace_url=url))


def test_spans_that_no_policy_lets_out_are_found(traced):
    wrong = Deployed(copy.deepcopy(traced.manifests))
    wrong.of("NetworkPolicy")["triton-detection"]["spec"]["egress"].clear()
    assert ("triton-detection", COLLECTOR, 4318, "TCP") in called(wrong) - allowed(wrong)


def test_everything_is_denied_that_no_policy_allows(deployed):
    everything = deployed.of("NetworkPolicy")["default-deny"]["spec"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def remove(*names: str):
    def change(deployed: Deployed) -> None:
        deployed.manifests = [
            one
            for one in deployed.manifests
            if (one["kind"], one["metadata"]["name"]) not in {("NetworkPolicy", n) for n in names}
        ]

    return change


def rules(name: str, direction: str, change):
    return lambda deployed: change(deployed.of("NetworkPolicy")[name]["spec"][direction])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(remove("detector"), id="a policy is missing"),
        pytest.param(remove("default-deny", "detector"), id="nothing is denied"),
        pytest.param(rules("detector", "ingress", lambda some: some.append({})), id="from anybody"),
        pytest.param(
            rules("gateway", "egress", lambda some: some.append({"ports": [{"port": 443}]})), id="to anybody"
        ),
        pytest.param(rules("gateway", "egress", lambda some: some.pop(0)), id="a call is not allowed"),
        pytest.param(
            rules("detector", "ingress", lambda some: some[0]["from"][0]["podSelector"].clear()),
            id="from any pod",
        ),
        pytest.param(
            rules("triton-detection", "ingress", lambda some: some[0]["ports"].append({"port": 8000})),
            id="HTTP",
        ),
        pytest.param(
            rules("detector", "egress", lambda some: some[0]["ports"][0].update(port=8003)), id="wrong port"
        ),
        pytest.param(
            rules("gateway", "egress", lambda some: some[-1]["ports"].pop()), id="names by one protocol"
        ),
    ],
)
def test_what_is_wrong_is_found(broken, change):
    wrong = broken(change)
    assert allowed(wrong) != called(wrong) or one_sided(wrong)


def test_a_new_call_in_the_settings_is_found(broken):
    def change(deployed: Deployed) -> None:
        (name,) = (name for name in deployed.of("ConfigMap") if name.startswith("detector-settings"))
        deployed.of("ConfigMap")[name]["data"]["HEMASERVE_DETECTOR_TRITON_ADDRESS"] = (
            "dns:///triton-classification:8001"
        )

    wrong = broken(change)
    assert ("detector", "triton-classification", 8001, "TCP") in called(wrong) - allowed(wrong)


@pytest.mark.parametrize("service", WORKLOADS)
def test_services_lead_to_the_pods_of_their_name_and_no_others(deployed, service):
    spec = deployed.of("Service")[service]["spec"]
    chosen = [
        name
        for name, one in deployed.of("Deployment").items()
        if spec["selector"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert chosen == [service]
    assert spec["clusterIP"] == "None", "callers balance by themselves"
    for port in spec["ports"]:
        assert deployed.port_names[service][port["targetPort"]] == port["port"], (
            "headless services map no ports"
        )


def test_who_is_called_by_name_has_a_service_with_that_port(deployed):
    for caller, callee, port, _ in called(deployed):
        if caller in WORKLOADS and callee in WORKLOADS:
            assert [one["port"] for one in deployed.of("Service")[callee]["spec"]["ports"]] == [port]
