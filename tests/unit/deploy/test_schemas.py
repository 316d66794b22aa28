"""Every resource keeps to the schema of its kind, and has no field that the schema does not know."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
from referencing import Registry, Resource

from .reading import Deployed, Manifest

SCHEMAS = Path(__file__).parents[3] / "deploy" / "k8s" / "schemas"
OURS = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json") if path.stem != "SOURCES"}
VERSION = kubernetes_validate.latest_version()


@pytest.fixture(scope="module")
def problems() -> Callable[[Manifest], list[str]]:
    """What is wrong with a manifest."""
    folder = Path(kubernetes_validate.__file__).parent / f"kubernetes-json-schema/v{VERSION}-local-strict"
    registry = Registry().with_resource(
        "https://kubernetes.io/api/_definitions.json",
        Resource.from_contents(json.loads((folder / "_definitions.json").read_text())),
    )
    validators = {}

    def of(manifest: Manifest) -> list[str]:
        kind, api_version = manifest["kind"], manifest["apiVersion"]
        if (kind, api_version) not in validators:
            if kind.lower() in OURS:
                schema = OURS[kind.lower()]
            else:
                name = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
                schema = json.loads((folder / f"{kind.lower()}-{name}.json").read_text())
            validators[kind, api_version] = jsonschema.Draft202012Validator(schema, registry=registry)
        found = validators[kind, api_version].iter_errors(manifest)
        return [
            f"{kind} {manifest['metadata']['name']}: {error.json_path}: {error.message}" for error in found
        ]

    return of


def test_the_schemas_are_of_a_current_kubernetes():
    assert tuple(map(int, VERSION.split(".")[:2])) >= (1, 37)


def test_all_resources_keep_to_them(deployed, problems):
    assert [problem for manifest in deployed.manifests for problem in problems(manifest)] == []


def test_the_fallback_for_scaling_keeps_to_them_too(fallback, problems):
    assert [problem for manifest in fallback.manifests for problem in problems(manifest)] == []


def put(*path: str | int, value: object) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        *parents, last = path
        for part in parents:
            manifest = manifest[part]
        manifest[last] = value

    return change


@pytest.mark.parametrize(
    ("kind", "name", "change", "said"),
    [
        ("Deployment", "gateway", put("spec", "replica", value=2), "replica"),
        (
            "Deployment",
            "gateway",
            put("spec", "template", "spec", "priorityClass", value="x"),
            "priorityClass",
        ),
        (
            "Deployment",
            "gateway",
            put("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort", value="x"),
            "'x'",
        ),
        ("Service", "gateway", put("spec", "ports", 0, "portName", value="x"), "portName"),
        ("NetworkPolicy", "gateway", put("spec", "egress", 0, "from", value=[]), "from"),
        ("ScaledObject", "gateway", put("spec", "maxReplicas", value=3), "maxReplicas"),
        ("ScaledObject", "gateway", put("spec", "triggers", 0, "metadata", "threshold", value=3), "3"),
        ("ScaledObject", "gateway", put("spec", "fallback", "behavior", value="panic"), "panic"),
        ("GRPCRoute", "gateway", put("spec", "rules", 0, "match", value=[]), "match"),
        ("Gateway", "hemaserve", put("spec", "listeners", 0, "port", value="443"), "443"),
        ("BackendTLSPolicy", "gateway", put("spec", "validation", "caCertRefs", value=[]), "caCertRefs"),
        ("Certificate", "detector", put("spec", "usages", 0, value="server"), "'server'"),
        ("Issuer", "services", put("spec", "ca", "secret", value="x"), "secret"),
        ("PodMonitor", "hemaserve", put("spec", "endpoints", value=[]), "endpoints"),
        (
            "PrometheusRule",
            "hemaserve",
            put("spec", "groups", value=[{"name": "x", "rules": [{"alarm": "x", "expr": "1"}]}]),
            "alarm",
        ),
    ],
)
def test_what_is_wrong_is_found(broken, problems, kind, name, change, said):
    wrong = broken(lambda deployed: change(deployed.of(kind)[name])).of(kind)[name]
    assert any(said in problem for problem in problems(wrong))


def test_what_is_missing_is_found(broken, problems):
    def change(deployed: Deployed) -> None:
        del deployed.of("ScaledObject")["gateway"]["spec"]["triggers"]

    wrong = broken(change).of("ScaledObject")["gateway"]
    assert any("'triggers' is a required property" in problem for problem in problems(wrong))
