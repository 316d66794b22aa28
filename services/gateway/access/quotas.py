"""Quotas: token buckets, a minute's worth deep. Pure: time is what the caller says it is.

Each replica of a gateway counts by itself; a setting (`quota_share`) says which part of each quota is its own.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from hemaserve.access import Quota

_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call, or one message of it, takes of a quota."""

    requests: float = 0.0
    fields: float = 0.0
    bytes: float = 0.0


class TokenBucket:
    """Fills evenly, up to a minute's worth: over any t seconds it gives at most `per_minute * (1 + t / 60)`."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level = per_minute
        self._at = now

    def level(self, now: float) -> float:
        """What can be had at once; below zero where some was promised ahead of time."""
        return min(self.per_minute, self._level + max(0.0, now - self._at) * self.per_minute / _MINUTE_S)

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; infinite where it never will be."""
        if amount <= 0:
            return 0.0
        if amount > self.per_minute:
            return math.inf
        return max(0.0, amount - self.level(now)) * _MINUTE_S / self.per_minute

    def take(self, amount: float, now: float) -> None:
        """Take it, also ahead of time: who does so waits for `wait_s` first asked."""
        self._level, self._at = self.level(now) - amount, max(now, self._at)

    def full_in_s(self, now: float) -> float:
        """Seconds until it is full."""
        return (self.per_minute - self.level(now)) * _MINUTE_S / self.per_minute


class Allowance:
    """What one client has left of its quota."""

    def __init__(self, quota: Quota, now: float, *, share: float = 1.0) -> None:
        self.quota = quota
        limits = {"requests": quota.requests, "fields": quota.fields, "bytes": quota.bytes}
        self._buckets = {
            # A bucket of less than one would never give anything.
            unit: TokenBucket(max(1.0, limit * share), now)
            for unit, limit in limits.items()
            if limit is not None
        }

    def reserve(self, cost: Cost, now: float, *, within_s: float = 0.0) -> float:
        """Take the cost of something that begins in so many seconds; nothing, when that is longer than `within_s`.

        Returns:
            The wait, in seconds: up to `within_s`, taken; longer, not taken; infinite, more than a whole minute's.
        """
        wait_s = max(
            (bucket.wait_s(getattr(cost, unit), now) for unit, bucket in self._buckets.items()), default=0.0
        )
        if wait_s <= within_s:
            for unit, bucket in self._buckets.items():
                bucket.take(getattr(cost, unit), now)
        return wait_s

    def metadata(self, now: float) -> tuple[tuple[str, str], ...]:
        """What is left, as draft-ietf-httpapi-ratelimit-headers-10 writes it; nothing without a quota.

        `ratelimit-policy: "fields";q=120;w=60` and `ratelimit: "fields";r=87;t=17`: of 120 in 60 s, 87 are left, and
        in 17 s all will be again.
        """
        if not self._buckets:
            return ()
        items = self._buckets.items()
        policy = ", ".join(f'"{unit}";q={int(bucket.per_minute)};w=60' for unit, bucket in items)
        left = ", ".join(
            f'"{unit}";r={max(0, int(bucket.level(now)))};t={math.ceil(bucket.full_in_s(now))}'
            for unit, bucket in items
        )
        return (("ratelimit-policy", policy), ("ratelimit", left))


class Allowances:
    """The allowances of all clients that called of late; bounded, however many there are.

    Args:
        share: which part of each quota is granted here.
        most: how many are remembered. Beyond it the one that called longest ago is forgotten, and begins anew.
    """

    def __init__(self, *, share: float = 1.0, most: int = 10_000) -> None:
        self._share = share
        self._most = most
        self._of: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, client: str, quota: Quota, now: float) -> Allowance:
        """A client's allowance; a new one where its quota has changed."""
        found = self._of.get(client)
        if found is None or found.quota != quota:
            found = self._of[client] = Allowance(quota, now, share=self._share)
        self._of.move_to_end(client)
        while len(self._of) > self._most:
            self._of.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._of)
