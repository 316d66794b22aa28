"""Overlays build, are made of all that there is, and refer to nothing that there is not."""

from pathlib import Path

import pytest
import yaml

from hemaserve.access.editing import read
from observability.files import DEPLOY, KUBERNETES_RULES, kubernetes_rules
from observability.files import read as specifications

from .reading import WORKLOADS, Deployed

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "deploy" / "k8s"

CLUSTER_HAS = {
    ("ConfigMap", "site-profiles"),  # optional
    ("ConfigMap", "services-ca"),  # for proxies, see docs/kubernetes.md
    ("Secret", "public-tls"),  # the proxy's own certificate
}
"""What the manifests refer to and an operator brings."""


def test_every_component_is_in_an_overlay_or_is_a_choice(built):
    used = {"autoscaling-hpa", "tracing"}
    for overlay in built:
        kustomization = yaml.safe_load((KUBERNETES / "overlays" / overlay / "kustomization.yaml").read_text())
        used |= {Path(path).name for path in kustomization["components"]}
    assert used == {path.name for path in (KUBERNETES / "components").iterdir()}


def test_all_resources_are_in_the_namespace_and_of_the_application(deployed):
    for one in deployed.manifests:
        meta = one["metadata"]
        assert meta["labels"]["app.kubernetes.io/part-of"] == "hemaserve", meta["name"]
        if one["kind"] not in ("Namespace", "PriorityClass"):
            assert meta["namespace"] == "hemaserve", meta["name"]


def test_nothing_is_left_of_what_is_for_the_build_alone(deployed, fallback):
    for one in (*deployed.manifests, *fallback.manifests):
        assert "config.kubernetes.io/local-config" not in one["metadata"].get("annotations", {})
        assert one["metadata"]["name"] != "scaling"


def referred(deployed: Deployed) -> set[tuple[str, str]]:
    """Kind and name of all that is referred to."""
    found = set()
    for name in deployed.of("Deployment"):
        pod = deployed.pod(name)
        found |= {("ServiceAccount", pod["serviceAccountName"]), ("PriorityClass", pod["priorityClassName"])}
        for volume in pod["volumes"]:
            if "secret" in volume:
                found.add(("Secret", volume["secret"]["secretName"]))
            elif "configMap" in volume:
                found.add(("ConfigMap", volume["configMap"]["name"]))
            else:
                assert "emptyDir" in volume
        for source in deployed.container(name).get("envFrom", ()):
            found.add(("ConfigMap", source["configMapRef"]["name"]))
    return found | referred_by_certificates(deployed) | referred_by_routes(deployed) | scaled(deployed)


def referred_by_certificates(deployed: Deployed) -> set[tuple[str, str]]:
    """Issuers, and what their keys are in."""
    certificates = [one["spec"]["issuerRef"] for one in deployed.of("Certificate").values()]
    issuers = [one["spec"] for one in deployed.of("Issuer").values()]
    return {(ref["kind"], ref["name"]) for ref in certificates} | {
        ("Secret", spec["ca"]["secretName"]) for spec in issuers if "ca" in spec
    }


def referred_by_routes(deployed: Deployed) -> set[tuple[str, str]]:
    """What the way in from outside is made of."""
    found = set()
    for one in deployed.of("GRPCRoute").values():
        found |= {("Gateway", parent["name"]) for parent in one["spec"]["parentRefs"]}
        found |= {
            ("Service", backend["name"]) for rule in one["spec"]["rules"] for backend in rule["backendRefs"]
        }
    for one in deployed.of("BackendTLSPolicy").values():
        found |= {(target["kind"], target["name"]) for target in one["spec"]["targetRefs"]}
        found |= {(ref["kind"], ref["name"]) for ref in one["spec"]["validation"]["caCertificateRefs"]}
    for one in deployed.of("Gateway").values():
        found |= {
            ("Secret", ref["name"])
            for lis in one["spec"]["listeners"]
            for ref in lis["tls"]["certificateRefs"]
        }
    return found


def scaled(deployed: Deployed) -> set[tuple[str, str]]:
    """What is scaled."""
    scalers = (*deployed.of("ScaledObject").values(), *deployed.of("HorizontalPodAutoscaler").values())
    return {("Deployment", one["spec"]["scaleTargetRef"]["name"]) for one in scalers}


def there_is(deployed: Deployed) -> set[tuple[str, str]]:
    """Kind and name of all that there is, Secrets that cert-manager writes among it."""
    written = {("Secret", one["spec"]["secretName"]) for one in deployed.of("Certificate").values()}
    return {(one["kind"], one["metadata"]["name"]) for one in deployed.manifests} | written


def test_what_is_referred_to_is_there(deployed, fallback):
    for one in (deployed, fallback):
        assert referred(one) - there_is(one) <= CLUSTER_HAS


def test_a_name_that_nothing_has_is_found(broken):
    def change(deployed: Deployed) -> None:
        deployed.pod("detector")["volumes"][-1] = {"name": "tls", "secret": {"secretName": "detector-tsl"}}

    wrong = broken(change)
    assert ("Secret", "detector-tsl") in referred(wrong) - there_is(wrong) - CLUSTER_HAS


@pytest.mark.parametrize("workload", WORKLOADS)
def test_volumes_are_mounted_and_mounts_are_of_volumes(deployed, workload):
    pod = deployed.pod(workload)
    containers = (*pod.get("initContainers", ()), *pod["containers"])
    mounted = {mount["name"] for one in containers for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_workload_has_all_that_it_needs_by_its_own_name(deployed):
    for kind in ("Deployment", "ServiceAccount", "PodDisruptionBudget"):
        assert set(deployed.of(kind)) == set(WORKLOADS), kind
    assert set(deployed.of("Service")) - {"gateway-entry"} == set(WORKLOADS)
    assert all((KUBERNETES / "base" / f"{name}.yaml").is_file() for name in WORKLOADS)


def test_images_are_named_by_the_version_of_the_project(deployed):
    version = next(
        line.split('"')[1]
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith("version")
    )
    names = {"gateway", "detector", "classifier", "triton"}
    images = {one["image"] for _, one in deployed.containers()}
    assert images == {f"hemaserve/{name}:{version}" for name in names}


def test_nobody_may_call_until_somebody_is_added():
    assert not read(KUBERNETES / "components" / "access" / "access.json").clients


def test_a_new_key_needs_no_new_pods(deployed):
    assert "access" in deployed.of("Secret"), "its name would change with what is in it"


def test_the_rules_are_those_of_the_observability_folder():
    assert KUBERNETES_RULES.read_text() == kubernetes_rules(specifications()), "run python -m observability"
    groups = [
        group
        for path in sorted((DEPLOY / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    assert yaml.safe_load(KUBERNETES_RULES.read_text())["spec"]["groups"] == groups
