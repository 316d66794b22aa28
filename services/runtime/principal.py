"""Who makes the call at hand: set once, at the door, and read wherever it matters."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from hemaserve.access import Role

__all__ = ["ANONYMOUS", "Principal", "Role", "current_principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that was told apart from others.

    Attributes:
        name: the client's name, the same for all of its credentials; fair shares and quotas go by it.
        roles: what it may do.
    """

    name: str
    roles: frozenset[Role]


ANONYMOUS: Final = Principal("anonymous", frozenset(Role))
"""The caller where nobody is asked who they are: a stack on one machine, open on its loopback only."""

current_principal: Final[ContextVar[Principal]] = ContextVar("current_principal", default=ANONYMOUS)
"""The principal of the RPC that the running task serves."""
