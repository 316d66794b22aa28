"""Priorities as Triton counts them."""

from typing import Final

from hemaserve.results import Priority

TRITON_PRIORITY: Final = {Priority.STAT: 1, Priority.ROUTINE: 2, Priority.BATCH: 3}
"""Triton's priority level of each priority; a model's `priority_levels` is 3. Triton passes an ensemble's on to its
members."""
