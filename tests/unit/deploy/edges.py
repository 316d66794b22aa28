"""Who calls whom: as the services' settings say, and as the network policies allow."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from hemaserve.addresses import of_a_name, replicas
from services.runtime.addresses import ReplicatedAddress

from .reading import SETTINGS, TRITONS, WORKLOADS, Deployed, Manifest

Edge = tuple[str, str, int, str]
"""Who calls, whom, at which port, by which protocol. Namespaces and networks of others are written with what selects
them."""

CALLERS = "namespaces with hemaserve/calls-gateway=true"
MONITORING = "namespaces with kubernetes.io/metadata.name=monitoring"
DNS = "pods with k8s-app=kube-dns in namespaces with kubernetes.io/metadata.name=kube-system"
COLLECTOR = (
    "pods with app.kubernetes.io/name=opentelemetry-collector in "
    "namespaces with kubernetes.io/metadata.name=monitoring"
)
NAMES = {"opentelemetry-collector.monitoring.svc": COLLECTOR}
"""Names in the cluster of those who are not ours, and what selects them."""
OUTSIDE = "0.0.0.0/0"


def called(deployed: Deployed) -> set[Edge]:
    """The calls that are made: each setting that is an address of others, and whom the names are asked of."""
    edges = set()
    for service in SETTINGS:
        settings = deployed.settings(service)
        edges |= sent(service, settings.trace_endpoint)
        for address in addresses(settings):
            (where,) = replicas(address)
            host, _, port = where.rpartition(":")
            edges.add((service, host, int(port), "TCP"))
            if of_a_name(address):
                edges |= {(service, DNS, 53, protocol) for protocol in ("UDP", "TCP")}
        edges.add((MONITORING, service, port_of(settings.metrics_listen), "TCP"))
    for triton in TRITONS:
        edges.add((MONITORING, triton, int(deployed.options(triton)["metrics-port"]), "TCP"))
        for word in deployed.tracing(triton):
            edges |= sent(triton, word.partition(",url=")[2])
    entry = port_of(deployed.settings("gateway").listen)
    edges.add((CALLERS, "gateway", entry, "TCP"))
    if any(service["spec"].get("type") == "LoadBalancer" for service in deployed.of("Service").values()):
        edges.add((OUTSIDE, "gateway", entry, "TCP"))
    return edges


def sent(workload: str, url: str) -> set[Edge]:
    """Where spans go, and whom its name is asked of; nowhere where there is no address."""
    if not url:
        return set()
    where = urlsplit(url)
    names = {(workload, DNS, 53, protocol) for protocol in ("UDP", "TCP")}
    return names | {(workload, NAMES[where.hostname], where.port, "TCP")}


def addresses(settings: Any) -> Iterator[str]:
    """The values of all settings that say where another service is."""
    kind = ReplicatedAddress.__metadata__[0]
    for name, field in type(settings).model_fields.items():
        if kind in field.metadata:
            yield getattr(settings, name)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def allowed(deployed: Deployed) -> set[Edge]:
    """What policies allow: between our pods what both sides allow, with others what our side allows."""
    incoming = {edge for name in WORKLOADS for edge in _rules(deployed, name, "ingress")}
    outgoing = {edge for name in WORKLOADS for edge in _rules(deployed, name, "egress")}
    inside = {edge for edge in incoming | outgoing if edge[0] in WORKLOADS and edge[1] in WORKLOADS}
    return (incoming | outgoing) - (inside - (incoming & outgoing))


def one_sided(deployed: Deployed) -> set[Edge]:
    """What one of our pods allows and the other one does not: of no use, and so a mistake."""
    incoming = {edge for name in WORKLOADS for edge in _rules(deployed, name, "ingress")}
    outgoing = {edge for name in WORKLOADS for edge in _rules(deployed, name, "egress")}
    return {edge for edge in incoming ^ outgoing if edge[0] in WORKLOADS and edge[1] in WORKLOADS}


def _rules(deployed: Deployed, workload: str, direction: str) -> Iterator[Edge]:
    labels = deployed.of("Deployment")[workload]["spec"]["template"]["metadata"]["labels"]
    restricted = False
    for policy in deployed.of("NetworkPolicy").values():
        spec = policy["spec"]
        if direction.capitalize() not in spec["policyTypes"] or not _selects(spec["podSelector"], labels):
            continue
        restricted = True
        for rule in spec.get(direction, ()):
            peers = rule.get("from" if direction == "ingress" else "to")
            for peer in peers or [None]:
                for other in _who(deployed, peer):
                    for port in rule.get("ports", [{"port": 0}]):
                        here = workload if direction == "ingress" else other
                        number = _number(deployed, here, port.get("port", 0))
                        ends = (other, workload) if direction == "ingress" else (workload, other)
                        yield (*ends, number, port.get("protocol", "TCP"))
    if not restricted:
        yield ("anybody", workload, 0, "any") if direction == "ingress" else (workload, "anybody", 0, "any")


def _who(deployed: Deployed, peer: Manifest | None) -> Iterator[str]:
    """Our workloads that a peer selects, or what it says of others."""
    if peer is None:
        yield "anybody"
    elif "ipBlock" in peer:
        yield peer["ipBlock"]["cidr"]
    elif "namespaceSelector" in peer:
        pods = _written(peer["podSelector"]) if "podSelector" in peer else ""
        yield f"{pods and f'pods with {pods} in '}namespaces with {_written(peer['namespaceSelector'])}"
    else:
        for name, one in deployed.of("Deployment").items():
            if _selects(peer["podSelector"], one["spec"]["template"]["metadata"]["labels"]):
                yield name


def _written(selector: Manifest) -> str:
    assert selector.keys() <= {"matchLabels"}
    return (
        ",".join(f"{name}={value}" for name, value in selector.get("matchLabels", {}).items()) or "any labels"
    )


def _selects(selector: Manifest, labels: Manifest) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def _number(deployed: Deployed, workload: str, port: int | str) -> int:
    return port if isinstance(port, int) else deployed.port_names[workload][port]
