"""One progress bar for all steps."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a bar on stderr; in a log file the bar prints a line every half minute."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    interval = 0.5 if sys.stderr.isatty() else 30.0
    yield from tqdm(items, desc=title, total=total, mininterval=interval, dynamic_ncols=True)
