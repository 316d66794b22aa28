"""What the plain install lacks: the libraries of the extra `evaluate`."""

import importlib
from typing import Any

from hemaserve.errors import FailedPrecondition
from hemaserve.evaluation.metrics import Interval


def load(module: str) -> Any:
    """Import a module that needs the extra `evaluate`.

    Raises:
        FailedPrecondition: the extra is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise FailedPrecondition(
            "this evaluation needs libraries that the plain install lacks: pip install 'hemaserve[evaluate]'",
            reason="EXTRA_MISSING",
        ) from None


def check() -> None:
    """Whether the extra is there: asked before an evaluation starts, not after thousands of images.

    Raises:
        FailedPrecondition: it is not.
    """
    for module in ("scipy", "pycocotools"):
        load(module)


def exact_interval(count: int, n: int) -> Interval:
    """Exact (Clopper-Pearson) 95% limits of the share `count` of `n`; (0, 1) when n is 0 and nothing is known."""
    if n == 0:
        return 0.0, 1.0
    low, high = load("hemaserve.differential").clopper_pearson(count, n)
    return float(low), float(high)
