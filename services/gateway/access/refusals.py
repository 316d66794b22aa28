"""Why credentials were not taken: told to the audit log, and to nobody else."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hemaserve.errors import Unauthenticated

_MESSAGE: Final = "this needs valid credentials"


class Reason(StrEnum):
    """What was wrong with the credentials of a call."""

    MISSING = "missing"
    MALFORMED = "malformed"
    PLAINTEXT = "plaintext"
    """They came over an open network, unencrypted, so that they may be anybody's by now."""
    UNKNOWN = "unknown"
    """No such key, certificate or signing key."""
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a reason, not a secret
    """The key's id is known, and the rest of it is not the key."""
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    FORGED_SIGNATURE = "forged_signature"
    FORBIDDEN_ALGORITHM = "forbidden_algorithm"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    MISSING_CLAIM = "missing_claim"


class CredentialKind(StrEnum):
    """What a caller shows."""

    NONE = "none"
    API_KEY = "api_key"
    TOKEN = "token"  # noqa: S105 - a kind, not a token
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Credential:
    """Credentials as they may be written down.

    Attributes:
        credential_id: the key's id, the token's `jti`, or the certificate's name; empty where nothing is sure of it.
    """

    kind: CredentialKind = CredentialKind.NONE
    credential_id: str = ""


class Refused(Unauthenticated):
    """Credentials that were not taken. The caller gets one and the same answer for all of them.

    Args:
        why: for the audit log.
        client: whose credentials they are, where that was proven.
    """

    def __init__(self, why: Reason, credential: Credential = Credential(), client: str = "") -> None:
        super().__init__(_MESSAGE)
        self.why = why
        self.credential = credential
        self.client = client
