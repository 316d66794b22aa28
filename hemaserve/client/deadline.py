"""When a call must be over."""

import time


class Deadline:
    """A moment after `timeout_s` seconds, or never."""

    def __init__(self, timeout_s: float | None) -> None:
        self._at = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Seconds until then, 0 when it is past; None for never."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
