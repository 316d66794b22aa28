"""From what a caller shows to who it is."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hemaserve.access import Client, Quota
from hemaserve.access.keys import digest, matches
from services.gateway.access.access_file import AccessFile, is_expired
from services.gateway.access.credentials import Shown, ShownCertificate, ShownKey
from services.gateway.access.refusals import Credential, CredentialKind, Reason, Refused
from services.gateway.access.tokens import TokenVerifier
from services.runtime.principal import Principal

_NOBODYS_DIGEST: Final = digest("")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, how it was told, and what it may send in a minute."""

    principal: Principal
    credential: Credential
    quota: Quota


class Authenticator:
    """Knows callers by the access file, and by the tokens of the issuers that the file trusts."""

    def __init__(
        self,
        file: AccessFile,
        tokens: TokenVerifier,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = file
        self._tokens = tokens
        self._now = now

    async def caller(self, shown: Shown) -> Caller:
        """Who shows this.

        Raises:
            Refused: it is not good.
            Unavailable: a token's issuer cannot be asked for its keys.
        """
        match shown:
            case ShownKey():
                return self._by_key(shown)
            case ShownCertificate():
                return self._by_certificate(shown)
            case _:
                access = self._file.access
                holder = await self._tokens.verify(shown.text, access.issuers)
                return Caller(
                    # No client of the file has a colon in its name: a subject cannot pass for one.
                    Principal(f"token:{holder.subject}", holder.roles),
                    Credential(CredentialKind.TOKEN, holder.token_id),
                    access.quota_of(holder.roles),
                )

    def _by_key(self, shown: ShownKey) -> Caller:
        credential = Credential(CredentialKind.API_KEY, shown.key_id)
        found = self._file.key(shown.key_id)
        # Compared whether there is such a key or not, so that the time taken does not tell.
        is_right = matches(shown.key, _NOBODYS_DIGEST if found is None else found[1].sha256)
        if found is None:
            raise Refused(Reason.UNKNOWN, credential)
        client, key = found
        if not is_right:
            raise Refused(Reason.WRONG_SECRET, credential)
        if key.revoked_at is not None:
            raise Refused(Reason.REVOKED, credential, client.name)
        if is_expired(key, self._now()):
            raise Refused(Reason.EXPIRED, credential, client.name)
        return self._known(client, credential)

    def _by_certificate(self, shown: ShownCertificate) -> Caller:
        credential = Credential(CredentialKind.CERTIFICATE, shown.names[0][:128])
        client = self._file.client_of_certificate(shown.names)
        if client is None:
            raise Refused(Reason.UNKNOWN, credential)
        return self._known(client, credential)

    def _known(self, client: Client, credential: Credential) -> Caller:
        quota = self._file.access.quota_of(client.roles, client.quota)
        return Caller(Principal(client.name, client.roles), credential, quota)
