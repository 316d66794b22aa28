"""What is left of a caller's quota, as the gateway tells it at the end of each call."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

# As draft-ietf-httpapi-ratelimit-headers-10 writes them.
_POLICY: Final = re.compile(r'"(\w+)";q=(\d+)')
_LEFT: Final = re.compile(r'"(\w+)";r=(\d+)')


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """What is left of one part of a quota.

    Attributes:
        unit: requests, fields or bytes.
        left: what may be sent at once.
        of: what may be sent in a minute.
    """

    unit: str
    left: int
    of: int


def quota_left(metadata: Iterable[tuple[str, Any]]) -> tuple[QuotaLeft, ...]:
    """What a call's trailing metadata say; nothing where there is no quota."""
    said = {key: value for key, value in metadata if isinstance(value, str)}
    granted = dict(_POLICY.findall(said.get("ratelimit-policy", "")))
    left = _LEFT.findall(said.get("ratelimit", ""))
    return tuple(QuotaLeft(unit, int(rest), int(granted[unit])) for unit, rest in left if unit in granted)
