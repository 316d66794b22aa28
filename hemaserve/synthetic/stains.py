"""How stains colour what is drawn. Colours are 8-bit sRGB, chosen by eye beside public photographs of smears."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Stain:
    """The colours of a smear.

    Attributes:
        background: the empty slide.
        red_cell: a red cell where it is thickest.
        chromatin: dense chromatin.
        chromatin_open: what shows between the strands of loose chromatin.
        cytoplasm_pink: cytoplasm of mature granulocytes.
        cytoplasm_blue: cytoplasm of lymphocytes and other cells rich in RNA.
        cytoplasm_grey: cytoplasm of monocytes.
        granule_lilac: fine granules of neutrophils and of platelets.
        granule_azure: coarse granules of immature granulocytes.
        granule_orange: granules of eosinophils.
        granule_purple: granules of basophils.
    """

    background: Colour
    red_cell: Colour
    chromatin: Colour
    chromatin_open: Colour
    cytoplasm_pink: Colour
    cytoplasm_blue: Colour
    cytoplasm_grey: Colour
    granule_lilac: Colour
    granule_azure: Colour
    granule_orange: Colour
    granule_purple: Colour


_MAY_GRUENWALD_GIEMSA: Final = Stain(
    background=(254, 229, 203),
    red_cell=(204, 164, 160),
    chromatin=(60, 20, 122),
    chromatin_open=(150, 96, 160),
    cytoplasm_pink=(212, 176, 184),
    cytoplasm_blue=(108, 96, 168),
    cytoplasm_grey=(168, 144, 178),
    granule_lilac=(160, 100, 150),
    granule_azure=(112, 48, 130),
    granule_orange=(176, 96, 116),
    granule_purple=(66, 20, 118),
)

STAINS: Final[Mapping[str, Stain]] = MappingProxyType(
    {
        "may-gruenwald-giemsa": _MAY_GRUENWALD_GIEMSA,
        "wright": replace(
            _MAY_GRUENWALD_GIEMSA,
            background=(236, 226, 226),
            red_cell=(196, 140, 142),
            chromatin=(72, 28, 112),
            cytoplasm_pink=(216, 176, 192),
            granule_orange=(196, 92, 98),
        ),
        "wright-giemsa": replace(
            _MAY_GRUENWALD_GIEMSA,
            background=(220, 222, 212),
            red_cell=(176, 138, 138),
            chromatin=(76, 44, 184),
            chromatin_open=(140, 104, 206),
            cytoplasm_pink=(204, 176, 206),
            cytoplasm_blue=(128, 124, 206),
        ),
    }
)
"""The stains that can be asked for by name."""
