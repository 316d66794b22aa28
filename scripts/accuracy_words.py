"""How figures are written on docs/accuracy.md."""

from collections.abc import Iterable, Sequence

from hemaserve.cells import FACTS, CellType

NOT_MEASURED = "not measured"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def percent(share: float | None, interval: Sequence[float] | None = None) -> str:
    """A share with its 95% interval; "none" where there is nothing to divide by."""
    if share is None:
        return "none"
    limits = "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return f"{100 * share:.1f}%{limits}"


def number(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A number without a unit, with its 95% interval."""
    if value is None:
        return "none"
    limits = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return f"{value:.3f}{limits}"


def type_title(name: str) -> str:
    return FACTS[CellType(name)].title


def marked(network: str, default: str | None) -> str:
    """A network's name, and whether it serves where a request names none."""
    return f"{network} (default)" if network == default else network
