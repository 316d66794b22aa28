"""Clients, what proves that it is they who call, and what they may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

SIGNATURE_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""What tokens may be signed with: public keys only. With a shared secret whoever can check a token can make one."""


class Role(StrEnum):
    """What a caller may do."""

    ANALYZE = "analyze"
    """Send fields and cells."""

    REVIEW = "review"
    """Look at results and explanations."""

    OPERATE = "operate"
    """See how the service is."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a client may send in a minute; None: as much as the stack can take.

    Attributes:
        requests: calls, and messages of a stream of cells.
        fields: fields, whichever call they come in.
        bytes: of messages, as they come over the wire.
    """

    requests: float | None = None
    fields: float | None = None
    bytes: float | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a client's, without the key.

    Attributes:
        key_id: its public part, 12 hexadecimal digits: names it in logs and commands.
        sha256: of the whole key, in hexadecimal.
        expires_at: when it ceases to be good; None: never.
        revoked_at: when it was revoked; None: it was not.
    """

    key_id: str
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A client that the file knows.

    Attributes:
        certificates: names of its certificates: a subject alternative name, or the common name where there is none.
        keys: several may be good at one time, so that a new one is in use before the old one is revoked.
    """

    name: str
    roles: frozenset[Role]
    quota: Quota = Quota()
    certificates: tuple[str, ...] = ()
    keys: tuple[ApiKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Issuer:
    """An OIDC issuer whose tokens are taken.

    Attributes:
        issuer: the tokens' `iss`.
        audience: what their `aud` must hold.
        jwks: where its keys are: an https address, or a file, relative to the access file.
        algorithms: what its tokens may be signed with.
        roles_claim: path of the claim that holds roles, e.g. `realm_access.roles`; a list, or words in one text.
        leeway_s: how far its clock may be off, in seconds.
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    roles_claim: str = "roles"
    leeway_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Access:
    """All who may call.

    Attributes:
        role_quotas: quotas of clients that have none of their own; of several roles', the most generous.
    """

    clients: tuple[Client, ...] = ()
    role_quotas: Mapping[Role, Quota] = field(default_factory=lambda: MappingProxyType({}))
    issuers: tuple[Issuer, ...] = ()

    def quota_of(self, roles: frozenset[Role], own: Quota = Quota()) -> Quota:
        """The quota of a client with these roles and this quota of its own."""
        of_roles = [quota for role, quota in self.role_quotas.items() if role in roles]
        return Quota(
            requests=_first(own.requests, [quota.requests for quota in of_roles]),
            fields=_first(own.fields, [quota.fields for quota in of_roles]),
            bytes=_first(own.bytes, [quota.bytes for quota in of_roles]),
        )


def _first(own: float | None, of_roles: list[float | None]) -> float | None:
    return own if own is not None else max((limit for limit in of_roles if limit is not None), default=None)
