"""What a measurement shows, in the form in which docs/reliability.md is made of it."""

from typing import Any


def claim(what: str, bar: str, measured: str, *, holds: bool) -> dict[str, Any]:
    """One line of the page: what is claimed, what it has to be, what it was, and whether that is enough."""
    return {"claim": what, "bar": bar, "measured": measured, "holds": holds}
