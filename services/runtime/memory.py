"""Gives the memory of fields back to the system, and keeps that of messages."""

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
"""`mallopt`'s names for its settings in glibc's malloc.h."""

FAST_BYTES: Final = 2**22
"""For services that have a process of their own: a field's file, its message and its copies are kept for the next one,
because the system makes each page anew: 0.35 ms for each copy of a file of 400 kB, which is copied in 0.01 ms. Decoded
fields of more than a megapixel are given back."""

FAST_KEPT_BYTES: Final = 2**24
"""What such a service keeps of free memory: the tensors of three fields at work and their copies. With 4 MiB each field
had 160 to 540 pages made anew, at 2.2 us a page."""

SMALL_BYTES: Final = 2**17
"""For those that share one to be small: the size with which glibc itself begins. With 1 MiB in its place three services
in one process kept 26 MiB more after 24 small fields."""

ARENAS: Final = 2
"""Threads share this many heaps: each heap keeps what its busiest moment took."""


def return_large_blocks(from_bytes: int, kept_bytes: int | None = None) -> None:
    """Tells the C library to take blocks of this size and more from the system one by one, and give them back when they
    are free; does nothing where it is not glibc.

    Args:
        from_bytes: the size.
        kept_bytes: how much free memory at the end of a heap is kept; by default as much.

    Left alone, glibc raises the size from which it does so up to 32 MB with the blocks that it sees (mallopt(3)), and
    then keeps a field's pixels among small blocks, where they cannot be given back: a service stayed at 170 to 250 MB
    after fields of 20 megapixels, and at 90 to 160 MB with this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, from_bytes)
        mallopt(M_TRIM_THRESHOLD, from_bytes if kept_bytes is None else kept_bytes)
        mallopt(M_ARENA_MAX, ARENAS)
