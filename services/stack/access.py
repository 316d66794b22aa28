"""Who may call the stack: what the gateway is told of it, and whether that can be used."""

from hemaserve.access import UnusableAccessFile
from hemaserve.access.editing import read
from services.runtime.addresses import is_loopback
from services.stack.requirements import CannotRun
from services.stack.settings import StackSettings


def check_access(settings: StackSettings) -> None:
    """Check that callers are asked who they are where strangers could call, and that the access file can be used.

    Raises:
        CannotRun: the message says what to do.
    """
    path = settings.access
    if path is None:
        asks = settings.tls is None or settings.client_certificates  # without TLS, others ask
        if not (asks or settings.allow_insecure or is_loopback(settings.address)):
            raise CannotRun(
                f"anybody could call the gateway at {settings.address}.\n"
                "Make keys with: hemaserve keys add NAME --role analyze, and give their file with --access FILE"
            )
        return
    try:
        read(path)
    except (OSError, UnusableAccessFile) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CannotRun(
            f"the access file {path} cannot be used: {why}.\n"
            f"Make one with: hemaserve keys add NAME --role analyze --file {path}"
        ) from None


def check_rollout(settings: StackSettings) -> None:
    """Check that the rollout file can be used.

    Raises:
        CannotRun: the message says why not.
    """
    if settings.rollout is None:
        return
    # Only where it is used.
    from services.gateway.rollout import read as read_rollout  # noqa: PLC0415

    try:
        read_rollout(settings.rollout)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CannotRun(f"the rollout file {settings.rollout} cannot be used: {why}") from None


def access_told(settings: StackSettings) -> dict[str, str]:
    """What each gateway is told: the file, its part of the quotas, and where its audit log goes."""
    if settings.access is None:
        return {}
    told = {"ACCESS": str(settings.access.absolute()), "QUOTA_SHARE": str(1 / settings.replicas)}
    # With all logs on the terminal it goes there as well.
    return (
        told if settings.verbose else told | {"AUDIT_LOG": str(settings.log_dir.absolute() / "audit.jsonl")}
    )
