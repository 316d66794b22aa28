"""Cell types, their tree, and their LOINC codes: the one place that knows them.

A network predicts the leaves of the tree (`LEAF_TYPES`); the differential counts the primary types
(`PRIMARY_TYPES`); the probability of a parent is the sum of its leaves, in training as in serving.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Kind(StrEnum):
    """What the detector says an object is. The order is that of the detector's class scores."""

    WBC = "wbc"
    RBC = "rbc"
    PLATELET = "platelet"


class CellType(StrEnum):
    """What the classifier says a cell is."""

    NEUTROPHIL = "neutrophil"
    NEUTROPHIL_BAND = "neutrophil_band"
    NEUTROPHIL_SEGMENTED = "neutrophil_segmented"
    LYMPHOCYTE = "lymphocyte"
    MONOCYTE = "monocyte"
    EOSINOPHIL = "eosinophil"
    BASOPHIL = "basophil"
    IMMATURE_GRANULOCYTE = "immature_granulocyte"
    PROMYELOCYTE = "promyelocyte"
    MYELOCYTE = "myelocyte"
    METAMYELOCYTE = "metamyelocyte"
    ERYTHROBLAST = "erythroblast"
    PLATELET = "platelet"
    # Reserved for networks that know them; each model says which types it can answer.
    BLAST = "blast"
    REACTIVE_LYMPHOCYTE = "reactive_lymphocyte"
    SMUDGE = "smudge"
    ARTEFACT = "artefact"


class UnidentifiedReason(StrEnum):
    """Why the classifier does not commit itself about a cell."""

    LOW_PROBABILITY = "low_probability"
    MEMBERS_DISAGREE = "members_disagree"
    OUT_OF_DISTRIBUTION = "out_of_distribution"


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """What is known of a cell type.

    Attributes:
        title: the name that people read.
        parent: the type that this one rolls up to, or None for a primary type.
        leukocyte: whether it belongs to the differential's denominator.
        loinc: methodless code of its count per 100 leukocytes in blood, where LOINC has one that we use.
        loinc_name: the long common name that goes with the code, as in LOINC 2.80 and later; before, these names
            said "/100 leukocytes" for "/Leukocytes".
    """

    title: str
    parent: CellType | None = None
    leukocyte: bool = True
    loinc: str | None = None
    loinc_name: str | None = None


_C = CellType
FACTS: Final[Mapping[CellType, TypeFacts]] = MappingProxyType(
    {
        _C.NEUTROPHIL: TypeFacts("Neutrophil", loinc="26511-6", loinc_name="Neutrophils/Leukocytes in Blood"),
        _C.NEUTROPHIL_BAND: TypeFacts(
            "Band neutrophil",
            _C.NEUTROPHIL,
            loinc="26508-2",
            loinc_name="Band form neutrophils/Leukocytes in Blood",
        ),
        _C.NEUTROPHIL_SEGMENTED: TypeFacts(
            "Segmented neutrophil",
            _C.NEUTROPHIL,
            loinc="26505-8",
            loinc_name="Segmented neutrophils/Leukocytes in Blood",
        ),
        _C.LYMPHOCYTE: TypeFacts("Lymphocyte", loinc="26478-8", loinc_name="Lymphocytes/Leukocytes in Blood"),
        _C.MONOCYTE: TypeFacts("Monocyte", loinc="26485-3", loinc_name="Monocytes/Leukocytes in Blood"),
        _C.EOSINOPHIL: TypeFacts("Eosinophil", loinc="26450-7", loinc_name="Eosinophils/Leukocytes in Blood"),
        _C.BASOPHIL: TypeFacts("Basophil", loinc="30180-4", loinc_name="Basophils/Leukocytes in Blood"),
        _C.IMMATURE_GRANULOCYTE: TypeFacts(
            "Immature granulocyte",
            loinc="38518-7",
            loinc_name="Immature granulocytes/Leukocytes in Blood",
        ),
        _C.PROMYELOCYTE: TypeFacts(
            "Promyelocyte",
            _C.IMMATURE_GRANULOCYTE,
            loinc="26524-9",
            loinc_name="Promyelocytes/Leukocytes in Blood",
        ),
        _C.MYELOCYTE: TypeFacts(
            "Myelocyte", _C.IMMATURE_GRANULOCYTE, loinc="26498-6", loinc_name="Myelocytes/Leukocytes in Blood"
        ),
        _C.METAMYELOCYTE: TypeFacts(
            "Metamyelocyte",
            _C.IMMATURE_GRANULOCYTE,
            loinc="28541-1",
            loinc_name="Metamyelocytes/Leukocytes in Blood",
        ),
        _C.ERYTHROBLAST: TypeFacts(
            "Erythroblast (NRBC)",
            leukocyte=False,
            loinc="19048-8",
            loinc_name="Nucleated erythrocytes/Leukocytes [Ratio] in Blood",
        ),
        _C.PLATELET: TypeFacts("Platelet", leukocyte=False),
        _C.BLAST: TypeFacts("Blast", loinc="26446-5", loinc_name="Blasts/Leukocytes in Blood"),
        _C.REACTIVE_LYMPHOCYTE: TypeFacts(
            "Reactive lymphocyte",
            _C.LYMPHOCYTE,
            loinc="13046-8",
            loinc_name="Variant lymphocytes/Leukocytes in Blood",
        ),
        _C.SMUDGE: TypeFacts("Smudge cell", leukocyte=False),
        _C.ARTEFACT: TypeFacts("Artefact", leukocyte=False),
    }
)

PRIMARY_TYPES: Final[tuple[CellType, ...]] = (
    _C.NEUTROPHIL,
    _C.LYMPHOCYTE,
    _C.MONOCYTE,
    _C.EOSINOPHIL,
    _C.BASOPHIL,
    _C.IMMATURE_GRANULOCYTE,
    _C.ERYTHROBLAST,
    _C.PLATELET,
)
"""The eight types that a differential is made of, in the order in which they are reported."""

LEAF_TYPES: Final[tuple[CellType, ...]] = (
    _C.NEUTROPHIL_BAND,
    _C.NEUTROPHIL_SEGMENTED,
    _C.LYMPHOCYTE,
    _C.MONOCYTE,
    _C.EOSINOPHIL,
    _C.BASOPHIL,
    _C.PROMYELOCYTE,
    _C.MYELOCYTE,
    _C.METAMYELOCYTE,
    _C.ERYTHROBLAST,
    _C.PLATELET,
)
"""The leaves that today's networks answer, in the order of their outputs."""


def primary_of(cell_type: CellType) -> CellType:
    """The type at the top of `cell_type`'s branch: itself when it has no parent."""
    parent = FACTS[cell_type].parent
    return cell_type if parent is None else primary_of(parent)


def belongs_to(cell_type: CellType, ancestor: CellType) -> bool:
    """Whether `cell_type` is `ancestor` or lies below it in the tree."""
    return cell_type is ancestor or primary_of(cell_type) is ancestor


def roll_up_matrix(leaves: Sequence[CellType], parents: Sequence[CellType]) -> NDArray[np.float32]:
    """The 0/1 matrix float32 [len(leaves), len(parents)] that sums leaf probabilities into parents' ones."""
    return np.array([[belongs_to(leaf, parent) for parent in parents] for leaf in leaves], np.float32)


_SYNONYMS: Final[Mapping[str, CellType]] = MappingProxyType(
    {
        "bne": _C.NEUTROPHIL_BAND,
        "band": _C.NEUTROPHIL_BAND,
        "bandneutrophil": _C.NEUTROPHIL_BAND,
        "sne": _C.NEUTROPHIL_SEGMENTED,
        "seg": _C.NEUTROPHIL_SEGMENTED,
        "segmented": _C.NEUTROPHIL_SEGMENTED,
        "segmentedneutrophil": _C.NEUTROPHIL_SEGMENTED,
        "ne": _C.NEUTROPHIL,
        "neu": _C.NEUTROPHIL,
        "neut": _C.NEUTROPHIL,
        "ly": _C.LYMPHOCYTE,
        "lym": _C.LYMPHOCYTE,
        "lymph": _C.LYMPHOCYTE,
        "mo": _C.MONOCYTE,
        "mon": _C.MONOCYTE,
        "mono": _C.MONOCYTE,
        "eo": _C.EOSINOPHIL,
        "eos": _C.EOSINOPHIL,
        "ba": _C.BASOPHIL,
        "bas": _C.BASOPHIL,
        "baso": _C.BASOPHIL,
        "ig": _C.IMMATURE_GRANULOCYTE,
        "pmy": _C.PROMYELOCYTE,
        "my": _C.MYELOCYTE,
        "mmy": _C.METAMYELOCYTE,
        "erb": _C.ERYTHROBLAST,
        "nrbc": _C.ERYTHROBLAST,
        "normoblast": _C.ERYTHROBLAST,
        "nucleatedredcell": _C.ERYTHROBLAST,
        "plt": _C.PLATELET,
        "thrombocyte": _C.PLATELET,
        "artifact": _C.ARTEFACT,
        "atypicallymphocyte": _C.REACTIVE_LYMPHOCYTE,
        "smudgecell": _C.SMUDGE,
    }
)
_BY_KEY: Final[Mapping[str, CellType]] = MappingProxyType(
    {cell_type.value.replace("_", ""): cell_type for cell_type in CellType} | dict(_SYNONYMS)
)


def parse_cell_type(text: str) -> CellType:
    """The type that a folder, a column or a person means by `text`: case, plural and punctuation do not matter.

    Raises:
        ValueError: no type is known by that name; the message lists the names that are.
    """
    key = re.sub(r"[^a-z]", "", text.casefold())
    for candidate in (key, key.removesuffix("s"), key.removesuffix("es")):
        if candidate in _BY_KEY:
            return _BY_KEY[candidate]
    known = ", ".join(cell_type.value for cell_type in CellType)
    raise ValueError(f"unknown cell type {text[:60]!r}; known: {known}")
