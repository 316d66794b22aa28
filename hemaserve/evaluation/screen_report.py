"""The figures of an evaluation of the leukemia screen, made of what was said of each field. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hemaserve.cells import CellType, Kind
from hemaserve.evaluation import metrics
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.type_scores import TypeScores, nested, scores_by_label
from hemaserve.results import Cell, ScreenFinding

NOT_NORMAL: Final = frozenset(
    {CellType.BLAST, CellType.REACTIVE_LYMPHOCYTE, CellType.SMUDGE, CellType.ARTEFACT}
)
"""Types that do not let a malignant cell pass for a healthy one. All others do, immature ones among them."""


@dataclass(frozen=True, slots=True)
class ScreenedField:
    """What was said of a field whose class is known.

    Attributes:
        label: the field's class.
        malignant: whether that is one of the classes that flag.
        finding: what the screen said of the field as a whole.
        cells: what was found in it.
    """

    label: str
    malignant: bool
    finding: ScreenFinding
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ScreenedCellsReport:
    """How white cells fared, labelled by their field, which makes the labels weak: not every cell of a malignant field
    is malignant. None where there is nothing to divide by; intervals are exact (Clopper-Pearson) and take cells as
    independent.

    Attributes:
        n: white cells found in malignant fields.
        flagged: share of them that the screen of cells flagged.
        unflagged_normal_cell: share of them that the classifier gave a normal type as identified, and the screen of
            cells did not flag.
        unflagged_normal: share of them for which that holds, and whose field was not flagged either: those that would
            pass for healthy.
        benign_n: white cells found in benign fields.
        benign_flagged: share of these that the screen of cells flagged.
    """

    n: int
    flagged: float | None
    flagged_ci95: Interval
    unflagged_normal_cell: float | None
    unflagged_normal_cell_ci95: Interval
    unflagged_normal: float | None
    unflagged_normal_ci95: Interval
    benign_n: int
    benign_flagged: float | None
    benign_flagged_ci95: Interval


@dataclass(frozen=True, slots=True)
class ScreenReport:
    """How well fields are screened. None where there is nothing to divide by.

    Attributes:
        n: fields that were answered.
        accuracy: share of fields whose most probable class is the folder's.
        sensitivity: share of the malignant fields that were flagged, at the network's threshold.
        specificity: share of the benign fields that were not.
        auroc: chance that a malignant field has a greater probability of a flag than a benign one, with a bootstrap
            interval; the other intervals are exact (Clopper-Pearson).
        malignant, benign: fields of the classes that flag, and of the others.
        per_class: scores of each class that has fields, with bootstrap intervals.
        confusion: counts by the folder's class, then by the most probable one.
        cells: how white cells fared.
        seconds: wall time.
    """

    n: int
    accuracy: float
    accuracy_ci95: Interval
    sensitivity: float | None
    sensitivity_ci95: Interval
    specificity: float | None
    specificity_ci95: Interval
    auroc: float | None
    auroc_ci95: Interval
    malignant: int
    benign: int
    per_class: dict[str, TypeScores]
    confusion: dict[str, dict[str, int]]
    cells: ScreenedCellsReport
    seconds: float


def screen_report(fields: Sequence[ScreenedField], *, seconds: float) -> ScreenReport:
    """The figures over at least one field.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    # The network's own order of its classes, which it gives with every finding.
    classes = list(dict.fromkeys(name for field in fields for name in field.finding.classes))
    truths = [field.label for field in fields]
    answers = [max(field.finding.classes, key=field.finding.classes.__getitem__) for field in fields]
    confusion = metrics.confusion_matrix(truths, answers, classes)
    right = sum(truth == answer for truth, answer in zip(truths, answers, strict=True))
    malignant = [field for field in fields if field.malignant]
    benign = [field for field in fields if not field.malignant]
    probabilities = [field.finding.probability for field in fields]
    labels = [field.malignant for field in fields]
    caught = sum(field.finding.flagged for field in malignant)
    passed = sum(not field.finding.flagged for field in benign)
    area = metrics.auroc(probabilities, labels)
    return ScreenReport(
        n=len(fields),
        accuracy=right / len(fields),
        accuracy_ci95=exact_interval(right, len(fields)),
        sensitivity=_share(caught, len(malignant)),
        sensitivity_ci95=exact_interval(caught, len(malignant)),
        specificity=_share(passed, len(benign)),
        specificity_ci95=exact_interval(passed, len(benign)),
        auroc=None if math.isnan(area) else area,
        auroc_ci95=metrics.auroc_interval(probabilities, labels),
        malignant=len(malignant),
        benign=len(benign),
        per_class=scores_by_label(classes, confusion, metrics.bootstrap_intervals(confusion)),
        confusion=nested(classes, confusion),
        cells=_cells_report(malignant, benign),
        seconds=seconds,
    )


def _cells_report(malignant: Sequence[ScreenedField], benign: Sequence[ScreenedField]) -> ScreenedCellsReport:
    found = [(field, cell) for field in malignant for cell in field.cells if cell.kind is Kind.WBC]
    healthy = [cell for field in benign for cell in field.cells if cell.kind is Kind.WBC]
    passing = [(field, cell) for field, cell in found if not cell.flagged and looks_normal(cell)]
    flagged = sum(cell.flagged for _, cell in found)
    unseen = sum(not field.finding.flagged for field, _ in passing)
    falsely = sum(cell.flagged for cell in healthy)
    return ScreenedCellsReport(
        n=len(found),
        flagged=_share(flagged, len(found)),
        flagged_ci95=exact_interval(flagged, len(found)),
        unflagged_normal_cell=_share(len(passing), len(found)),
        unflagged_normal_cell_ci95=exact_interval(len(passing), len(found)),
        unflagged_normal=_share(unseen, len(found)),
        unflagged_normal_ci95=exact_interval(unseen, len(found)),
        benign_n=len(healthy),
        benign_flagged=_share(falsely, len(healthy)),
        benign_flagged_ci95=exact_interval(falsely, len(healthy)),
    )


def looks_normal(cell: Cell) -> bool:
    """Whether the classifier commits itself to a type of healthy cells."""
    said = cell.classification
    return said is not None and said.identified and said.primary_type not in NOT_NORMAL


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
