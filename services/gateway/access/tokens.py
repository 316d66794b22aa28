"""Tokens of an OIDC issuer: JSON Web Tokens, RFC 7519, checked as RFC 8725 advises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from hemaserve.access import Issuer, Role
from services.gateway.access.key_set import KeySet, source_of
from services.gateway.access.refusals import Credential, CredentialKind, Reason, Refused

_REQUIRED: Final = ("exp", "iss", "aud", "sub")
_MAX_SUBJECT_CHARS: Final = 128
_REASONS: Final[tuple[tuple[type[Exception], Reason], ...]] = (
    (jwt.ExpiredSignatureError, Reason.EXPIRED),
    (jwt.ImmatureSignatureError, Reason.NOT_YET_VALID),
    (jwt.InvalidAudienceError, Reason.WRONG_AUDIENCE),
    (jwt.InvalidIssuerError, Reason.WRONG_ISSUER),
    (jwt.MissingRequiredClaimError, Reason.MISSING_CLAIM),
    (jwt.InvalidAlgorithmError, Reason.FORBIDDEN_ALGORITHM),
    (jwt.InvalidSignatureError, Reason.FORGED_SIGNATURE),
    (jwt.InvalidKeyError, Reason.FORBIDDEN_ALGORITHM),
    (TypeError, Reason.FORBIDDEN_ALGORITHM),  # what PyJWT says of a key of another type
)
"""The first that fits; anything else is malformed."""


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Whose token it was.

    Attributes:
        subject: the issuer's name for it.
        token_id: the token's `jti`; empty when it has none.
    """

    subject: str
    roles: frozenset[Role]
    token_id: str


class TokenVerifier:
    """Checks tokens of several issuers, and keeps their keys.

    Args:
        folder: where paths of key files begin.
    """

    def __init__(
        self, folder: Path, *, make_key_set: Callable[[Callable[[], bytes]], KeySet] = KeySet
    ) -> None:
        self._folder = folder
        self._make_key_set = make_key_set
        self._key_sets: dict[str, KeySet] = {}

    async def verify(self, token: str, issuers: tuple[Issuer, ...]) -> TokenHolder:
        """Whose token this is.

        Raises:
            Refused: it is not good.
            Unavailable: the issuer's keys cannot be had.
        """
        header, claimed = _unverified(token)
        issuer = next((known for known in issuers if known.issuer == claimed.get("iss")), None)
        if issuer is None:
            raise _refused(Reason.WRONG_ISSUER)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in issuer.algorithms:
            raise _refused(Reason.FORBIDDEN_ALGORITHM)
        if key_id is not None and not isinstance(key_id, str):
            raise _refused(Reason.MALFORMED)
        key = await self._key_set(issuer.jwks).key(key_id)
        if key is None:
            raise _refused(Reason.UNKNOWN)
        try:
            claims = jwt.decode(
                token,
                # The bare key: its type, and not a name in the token, says what it can verify.
                key.key,
                algorithms=list(issuer.algorithms),
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=issuer.leeway_s,
                options={"require": list(_REQUIRED)},
            )
        except (jwt.PyJWTError, TypeError, ValueError, OverflowError) as error:
            reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.MALFORMED)
            raise _refused(reason) from None
        return _holder(claims, issuer)

    def _key_set(self, jwks: str) -> KeySet:
        found = self._key_sets.get(jwks)
        if found is None:
            found = self._key_sets[jwks] = self._make_key_set(source_of(jwks, self._folder))
        return found


def roles_of(claims: Mapping[str, Any], path: str) -> frozenset[Role]:
    """The roles in the claim at a path like `realm_access.roles`; names that are no roles of ours are passed over."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(Role(word) for word in words if isinstance(word, str) and word in set(Role))


def _unverified(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims, to choose by who shall verify them; nothing in them is believed."""
    try:
        parsed = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _refused(Reason.MALFORMED) from None
    return parsed["header"], parsed["payload"]


def _holder(claims: Mapping[str, Any], issuer: Issuer) -> TokenHolder:
    subject, token_id = claims["sub"], claims.get("jti", "")
    for text in (subject, token_id):
        if not isinstance(text, str) or len(text) > _MAX_SUBJECT_CHARS or not _is_plain(text):
            raise _refused(Reason.MALFORMED)
    if not subject:
        raise _refused(Reason.MALFORMED)
    return TokenHolder(subject, roles_of(claims, issuer.roles_claim), token_id)


def _is_plain(text: str) -> bool:
    """Whether it can travel in metadata and stand in a line of a log."""
    return text.isascii() and text.isprintable()


def _refused(reason: Reason) -> Refused:
    # Whatever an unproven token says of itself, it is not written down.
    return Refused(reason, Credential(CredentialKind.TOKEN))
