"""What every call of the gateway's to another service carries."""

from typing import Final

from hemaserve.results import Priority

PRIORITY_KEY: Final = "x-hemaserve-priority"
"""gRPC metadata key that tells the order of service: stat, routine or batch."""


def call_metadata(priority: Priority) -> tuple[tuple[str, str], ...]:
    """The metadata of a call made for a request of this priority."""
    return ((PRIORITY_KEY, priority.value),)
