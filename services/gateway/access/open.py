"""The door, made from the gateway's settings."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from hemaserve.access import UnusableAccessFile
from services.gateway.access.access_file import AccessFile
from services.gateway.access.audit import AuditLog
from services.gateway.access.authentication import Authenticator
from services.gateway.access.door import Door
from services.gateway.access.interceptor import AccessInterceptor
from services.gateway.access.metrics import AccessMetrics
from services.gateway.access.quotas import Allowances
from services.gateway.access.tokens import TokenVerifier
from services.gateway.settings import GatewaySettings


class Access:
    """The door of a secured gateway, and what it holds open.

    Raises:
        OSError: the access file cannot be used.
    """

    def __init__(self, path: Path, settings: GatewaySettings, registry: CollectorRegistry) -> None:
        metrics = AccessMetrics(registry)
        try:
            file = AccessFile(path, lambda usable: metrics.file_usable.set(int(usable)))
        except UnusableAccessFile as error:
            raise OSError(f"the access file {path} cannot be used: {error}") from None
        self._audit = AuditLog(settings.audit_log, metrics.audit_lost.inc)
        door = Door(
            Authenticator(file, TokenVerifier(path.parent)),
            Allowances(share=settings.quota_share),
            self._audit,
            metrics,
            quota_wait_s=settings.quota_wait_s,
            audit_required=settings.audit_required,
            trust_network=settings.allow_insecure,
        )
        self.interceptor = AccessInterceptor(door)

    def close(self) -> None:
        """Write the audit log to its end."""
        self._audit.close()
