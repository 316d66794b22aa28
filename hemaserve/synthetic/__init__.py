"""Synthetic smear fields with exact ground truth: for the demo, for tests and for load. Never for a diagnosis.

Everything here is drawn from a seed with numpy and Pillow. The look follows fields stained with
May-Grünwald-Giemsa, but no photograph enters, and no figure measured on these fields says anything about real
smears.
"""

from hemaserve.synthetic.drawing import DRAWN_TYPES
from hemaserve.synthetic.field import (
    PlacedCell,
    SyntheticField,
    encode_jpeg,
    encode_png,
    generate_field,
)
from hemaserve.synthetic.stains import STAINS, Stain

__all__ = [
    "DRAWN_TYPES",
    "STAINS",
    "PlacedCell",
    "Stain",
    "SyntheticField",
    "encode_jpeg",
    "encode_png",
    "generate_field",
]
