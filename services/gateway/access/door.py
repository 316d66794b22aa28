"""The door: lets a call in, or says why not; counts what it sends; writes down what became of it."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.rpc import code_pb2

from hemaserve.errors import DomainError, FailedPrecondition, PermissionDenied, ResourceExhausted, Unavailable
from services.gateway.access.audit import AuditLog, Record, began_now
from services.gateway.access.authentication import Authenticator, Caller
from services.gateway.access.credentials import came_privately, shown_by
from services.gateway.access.metrics import AccessMetrics
from services.gateway.access.quotas import Allowance, Allowances, Cost
from services.gateway.access.refusals import Reason, Refused
from services.gateway.access.rules import Rule, rule_of
from services.runtime.errors import to_status

_AUDIT_AWAY: Final = "calls cannot be taken down at the moment, and are not taken without"


class Visit:
    """One call, from its beginning to its end."""

    def __init__(self, method: str, peer: str) -> None:
        self.rule: Rule = rule_of(method)
        self.record: Record = began_now(method, peer)
        self.caller: Caller | None = None
        self.allowance: Allowance | None = None
        self._began = time.perf_counter()

    def end(self, code: str, reason: str = "") -> Record:
        """The call's record, complete."""
        self.record.code, self.record.reason = code, reason
        self.record.seconds = time.perf_counter() - self._began
        return self.record


class Door:
    """What every call that is not open to all passes.

    Args:
        quota_wait_s: how long a message of a stream may wait for its client's quota.
        audit_required: whether calls are refused while they cannot be taken down.
        trust_network: whether credentials are taken from other machines unencrypted: something else encrypts.
        clock: monotonic time, in seconds.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        allowances: Allowances,
        audit: AuditLog,
        metrics: AccessMetrics,
        *,
        quota_wait_s: float,
        audit_required: bool = False,
        trust_network: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._authenticator = authenticator
        self._allowances = allowances
        self._audit = audit
        self._metrics = metrics
        self._quota_wait_s = quota_wait_s
        self._audit_required = audit_required
        self._trust_network = trust_network
        self._clock = clock

    async def admit(
        self,
        visit: Visit,
        metadata: Iterable[tuple[str, str | bytes]],
        auth_context: Mapping[str, Iterable[bytes]],
    ) -> Caller:
        """Who calls; nothing of the call's messages has been read yet.

        Raises:
            Refused: the credentials are not good.
            PermissionDenied: the caller may not do this.
            ResourceExhausted: its quota of requests is used up.
            Unavailable: something that is needed to tell is not there.
        """
        try:
            caller = visit.caller = await self._authenticate(visit, metadata, auth_context)
        except Refused as error:
            visit.record.credential, visit.record.credential_id = (
                error.credential.kind,
                error.credential.credential_id,
            )
            visit.record.client = error.client
            raise
        record = visit.record
        record.client = caller.principal.name
        record.credential, record.credential_id = caller.credential.kind, caller.credential.credential_id
        if self._audit_required and not self._audit.healthy:
            raise Unavailable(_AUDIT_AWAY, reason="AUDIT_UNAVAILABLE")
        if not caller.principal.roles & visit.rule.any_of:
            roles = " or ".join(sorted(visit.rule.any_of)) or "no role that there is"
            raise PermissionDenied(f"this needs the role {roles}", reason="ROLE_MISSING")
        visit.allowance = self._allowances.of(caller.principal.name, caller.quota, self._clock())
        record.requests += 1
        self._spend(visit.allowance, Cost(requests=1))
        return caller

    async def let_message_in(
        self, visit: Visit, message: Any, size: int, *, first: bool, within_s: float | None
    ) -> None:
        """Count a message; one of a stream waits for its client's quota, so that the stream is read more slowly.

        Args:
            size: in bytes.
            within_s: how long the call has left, for a stream; 0 for a message that is the only one; None: no limit.

        Raises:
            ResourceExhausted: the wait would be too long.
            FailedPrecondition: the message is larger than a whole minute's quota.
        """
        rule = visit.rule
        cost = Cost(
            requests=float(rule.messages_are_requests and not first),
            fields=float(rule.sends_fields and message.HasField("field")),
            bytes=size,
        )
        visit.record.requests += int(cost.requests)
        visit.record.fields += int(cost.fields)
        visit.record.bytes += size
        if visit.allowance is None:
            return
        most_s = self._quota_wait_s if within_s is None else min(self._quota_wait_s, within_s)
        wait_s = self._spend(visit.allowance, cost, within_s=most_s)
        if wait_s > 0:
            self._metrics.throttled_seconds.inc(wait_s)
            await asyncio.sleep(wait_s)

    def left(self, visit: Visit) -> tuple[tuple[str, str], ...]:
        """What the caller has left of its quota, for the call's trailing metadata."""
        return () if visit.allowance is None else visit.allowance.metadata(self._clock())

    def end(self, visit: Visit, code: str, reason: str = "") -> None:
        """Write down a call that has ended."""
        self._audit.take(visit.end(code, reason))

    def outcome_of(self, error: DomainError) -> tuple[str, str]:
        """Code and reason of a refusal, as the audit log gives them."""
        reason = error.why.value if isinstance(error, Refused) else error.reason
        return code_pb2.Code.Name(to_status(error).code), reason

    async def _authenticate(
        self,
        visit: Visit,
        metadata: Iterable[tuple[str, str | bytes]],
        auth_context: Mapping[str, Iterable[bytes]],
    ) -> Caller:
        try:
            shown = shown_by(metadata, auth_context)
            self._check_private(visit.record.peer, auth_context)
            return await self._authenticator.caller(shown)
        except Refused as error:
            self._metrics.refused.inc(error.why)
            raise

    def _check_private(self, peer: str, auth_context: Mapping[str, Iterable[bytes]]) -> None:
        if not (self._trust_network or came_privately(peer, auth_context)):
            raise Refused(Reason.PLAINTEXT)

    def _spend(self, allowance: Allowance, cost: Cost, *, within_s: float = 0.0) -> float:
        wait_s = allowance.reserve(cost, self._clock(), within_s=within_s)
        if math.isinf(wait_s):
            raise FailedPrecondition(
                "one message is more than the client's whole quota of a minute", reason="QUOTA_TOO_SMALL"
            )
        if wait_s > within_s:
            raise ResourceExhausted(
                "the client's quota is used up", reason="QUOTA_EXCEEDED", retry_after_s=wait_s
            )
        return wait_s
