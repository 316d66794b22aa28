"""Writes deploy/k8s/schemas/: strict JSON schemas of the custom resources that the manifests use.

The operators publish their schemas as files of releases, which no package registry has. The npm packages
`@kubernetes-models/*` are generated from the same Go types and declare them in TypeScript; this reads those
declarations. Names, nesting, types, enumerations and what is required come through; patterns and CEL rules do not.

    for package in keda@2.0.0 gateway-api@2.0.0 cert-manager@6.0.0 prometheus-operator@6.0.0; do
      npm pack @kubernetes-models/$package; done
    python scripts/crd_schemas.py kubernetes-models-*.tgz
"""

import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

OUT: Final = Path(__file__).parents[1] / "deploy/k8s/schemas"
KUBERNETES: Final = "https://kubernetes.io/api/_definitions.json#/$defs/"
"""Where `kubernetes-validate` has the types of Kubernetes itself."""

KINDS: Final = {
    "ScaledObject": "keda.sh/v1alpha1",
    "GRPCRoute": "gateway.networking.k8s.io/v1",
    "Gateway": "gateway.networking.k8s.io/v1",
    "BackendTLSPolicy": "gateway.networking.k8s.io/v1",
    "Certificate": "cert-manager.io/v1",
    "Issuer": "cert-manager.io/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}

_INTERFACE: Final = re.compile(
    r"export interface (\w+)(?: extends ([^{]+))? \{\n(.*?)^\}", re.DOTALL | re.MULTILINE
)
_TYPE: Final = re.compile(r"^export type (I\w+) = (.*?);$", re.DOTALL | re.MULTILINE)
_ALIAS: Final = re.compile(r"(I\w+) as (I\w+)")
_FIELD: Final = re.compile(r'^    "([^"]+)"(\?)?: (.*?);$', re.DOTALL | re.MULTILINE)
_COMMENT: Final = re.compile(r"/\*\*.*?\*/", re.DOTALL)
_MAP: Final = re.compile(r"\{ \[key: string\]: (.*) \}")
_MAP_LINES: Final = re.compile(r"\{\n\s*\[key: string\]: ([^;\n]*);\n\s*\}")
_QUANTITIES: Final = ("Quantity", "IntOrString")
_NEVER_WRITTEN: Final = "status"


class Declarations:
    """What packages declare, by the full name of each type."""

    def __init__(self) -> None:
        self._schemas: dict[str, dict[str, Any]] = {}
        self._parents: dict[str, list[str]] = {}

    def add(self, text: str) -> None:
        """Take in one file."""
        text = _COMMENT.sub("", text)
        while _MAP_LINES.search(text):
            text = _MAP_LINES.sub(r"{ [key: string]: \1 }", text)
        full = dict(_ALIAS.findall(text))
        for name, parents, body in _INTERFACE.findall(text):
            fields = [(key, bool(optional), kind) for key, optional, kind in _FIELD.findall(body)]
            self._schemas[full.get(name, name)] = {
                "type": "object",
                "properties": {key: schema(kind) for key, _, kind in fields if key != _NEVER_WRITTEN},
                "required": [key for key, optional, _ in fields if not optional and key != _NEVER_WRITTEN],
                "additionalProperties": False,
            }
            self._parents[full.get(name, name)] = re.findall(r"\w+", parents)
        for name, kind in _TYPE.findall(text):
            self._schemas[full.get(name, name)] = schema(kind)

    def resolved(self, name: str) -> dict[str, Any]:
        """The schema of a type, with what it inherits."""
        whole = json.loads(json.dumps(self._schemas[name]))
        for parent in self._parents.get(name, []):
            if parent in self._schemas:
                inherited = self.resolved(parent)
                whole["properties"] = inherited["properties"] | whole["properties"]
                whole["required"] = sorted({*inherited["required"], *whole["required"]})
        return dict(whole)

    def __contains__(self, name: str) -> bool:
        return name in self._schemas

    def of_kind(self, kind: str, api_version: str) -> str:
        """The full name of a kind's type."""
        wanted = {"apiVersion": {"const": api_version}, "kind": {"const": kind}}
        (found,) = (
            name
            for name, declared in self._schemas.items()
            if wanted.items() <= declared.get("properties", {}).items()
        )
        return found


def schema(kind: str) -> dict[str, Any]:
    """The JSON schema of a TypeScript type, as these packages write them."""
    kind = kind.strip()
    if kind in ("string", "number", "boolean"):
        return {"type": kind}
    if match := re.fullmatch(r"Array<(.*)>", kind, re.DOTALL):
        return {"type": "array", "items": schema(match.group(1))}
    if match := _MAP.fullmatch(kind):
        return {"type": "object", "additionalProperties": schema(match.group(1))}
    literals = re.findall(r'"([^"]*)"', kind)
    if literals:
        return {"const": literals[0]} if len(literals) == 1 else {"enum": literals}
    if kind.endswith(_QUANTITIES):
        return {"type": ["string", "number"]}
    if re.fullmatch(r"I\w+", kind):
        return {"$ref": kind}
    return {}


def complete(
    declarations: Declarations, kind: str, api_version: str, kubernetes: dict[str, str]
) -> dict[str, Any]:
    """A kind's schema with all that it refers to."""
    top = declarations.of_kind(kind, api_version)
    definitions: dict[str, Any] = {}

    def settle(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            name = node.get("$ref")
            if isinstance(name, str) and name in declarations:
                node["$ref"] = f"#/$defs/{name}"
                yield name
            elif name is not None:
                known = kubernetes.get(_plain(name))
                del node["$ref"]
                # Deep within what nobody here writes, such as the solvers of ACME.
                node.update({"$ref": KUBERNETES + known} if known else {"type": "object"})
            for inner in list(node.values()):
                yield from settle(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from settle(inner)

    waiting = [top]
    while waiting:
        name = waiting.pop()
        if name not in definitions:
            definitions[name] = declarations.resolved(name)
            waiting += settle(definitions[name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/$defs/{top}",
        "$defs": definitions,
    }


def _plain(name: str) -> str:
    return re.sub(r"\W", "", name).lower()


def _kubernetes() -> dict[str, str]:
    """The names of Kubernetes' own types, by how these packages spell them."""
    import kubernetes_validate  # noqa: PLC0415

    newest = kubernetes_validate.latest_version()
    folder = Path(kubernetes_validate.__file__).parent / f"kubernetes-json-schema/v{newest}-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    return {f"i{_plain(name)}": name for name in definitions}


def main(archives: list[str]) -> None:
    """Write the schemas of all kinds that the archives declare."""
    kubernetes = _kubernetes()
    sources = {}
    declarations = Declarations()
    for archive in archives:
        with tarfile.open(archive) as package:
            for member in package:
                file = package.extractfile(member)
                if file is None:
                    continue
                if member.name.endswith(".d.ts"):
                    declarations.add(file.read().decode())
                elif member.name == "package/package.json":
                    about = json.loads(file.read())
                    sources[about["name"]] = {"version": about["version"], "licence": about["license"]}
    OUT.mkdir(exist_ok=True)
    for kind, api_version in KINDS.items():
        content = {"$comment": f"{kind} of {api_version}; see SOURCES.json"}
        content |= complete(declarations, kind, api_version, kubernetes)
        path = OUT / f"{kind.lower()}.json"
        path.write_text(json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
    (OUT / "SOURCES.json").write_text(json.dumps(sources, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
