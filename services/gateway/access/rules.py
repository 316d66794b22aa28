"""Which role each RPC asks for, and what its messages count as: one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.runtime.principal import Role

_HEALTH: Final = "/grpc.health.v1.Health/"
"""Open: probes and load balancers have no credentials, and it tells nothing else."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What an RPC asks for.

    Attributes:
        any_of: roles; one of them is enough.
        sends_fields: whether a message's `field`, where it has one, counts as a field.
        messages_are_requests: whether each message of a stream counts as a request, and not only the call.
    """

    any_of: frozenset[Role]
    sends_fields: bool = False
    messages_are_requests: bool = False


_EVERYBODY: Final = Rule(frozenset(Role))
_REFLECTION: Final = Rule(frozenset({Role.OPERATE}))
_ANALYZE: Final = frozenset({Role.ANALYZE})

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "/hemaserve.v1.SmearService/AnalyzeField": Rule(_ANALYZE, sends_fields=True),
        "/hemaserve.v1.SmearService/AnalyzeSmear": Rule(_ANALYZE, sends_fields=True),
        "/hemaserve.v1.SmearService/DetectCells": Rule(_ANALYZE, sends_fields=True),
        "/hemaserve.v1.SmearService/ClassifyCells": Rule(_ANALYZE, messages_are_requests=True),
        "/hemaserve.v1.SmearService/ExplainCell": Rule(frozenset({Role.REVIEW})),
        "/hemaserve.v1.SmearService/ListModels": _EVERYBODY,
        "/hemaserve.v1.SmearService/ListSiteProfiles": _EVERYBODY,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _REFLECTION,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _REFLECTION,
    }
)

NOBODY: Final = Rule(frozenset())
"""For an RPC that was added without a rule."""


def is_open(method: str) -> bool:
    """Whether a method, by its full name, is there for strangers too."""
    return method.startswith(_HEALTH)


def rule_of(method: str) -> Rule:
    """The rule of a method that is not open."""
    return RULES.get(method, NOBODY)
