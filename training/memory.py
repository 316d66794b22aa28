"""Keeps the memory of tensors for the next ones of their size."""

from __future__ import annotations

import ctypes
from typing import Final

#: `mallopt`'s names for its settings in glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_MAX: Final = -4


def keep_freed_blocks() -> None:
    """Tells the C library to give nothing back to the system; does nothing where it is not glibc.

    Left alone, it takes every tensor of 32 MB and more from the system and gives it back, which makes each of its pages
    anew, and zeroes it: a quarter of the time of training EfficientNet-B0 on two cores (292 and 215 s an epoch).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_TOP_PAD, 2**28)
