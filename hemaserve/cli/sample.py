"""The demo's sample: synthetic fields with known cells, and how an answer compares with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hemaserve.cells import Kind, primary_of
from hemaserve.cli.analysis import Analysis
from hemaserve.results import Cell
from hemaserve.synthetic import PlacedCell, encode_png, generate_field

FIELDS: Final = 8
WHITE_CELLS: Final = 4
LEAST_IOU: Final = 0.4
"""From this overlap on a detection and a placed cell are the same."""

Truth = Mapping[Path, tuple[PlacedCell, ...]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """White cells placed, found, and found where none is; identified ones among those found, and how many are right."""

    placed: int
    found: int
    extra: int
    named: int
    right: int


def write_sample(folder: Path) -> tuple[list[Path], Truth]:
    """Draw the sample's fields into a folder; returns the files and what is in each.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[Path, tuple[PlacedCell, ...]] = {}
    for seed in range(1, FIELDS + 1):
        field = generate_field(seed, white_cells=WHITE_CELLS, caption=True)
        path = folder / f"synthetic-{seed}.png"
        path.write_bytes(encode_png(field.image))
        truth[path] = field.cells
    return list(truth), truth


def compare(analysis: Analysis, truth: Truth) -> Comparison:
    """Match each placed white cell with the detection that overlaps it most, and compare their primary types."""
    placed = found = extra = named = right = 0
    for path, result in analysis.analysed:
        detected = list(result.cells)
        for cell in truth[path]:
            if cell.kind is not Kind.WBC:
                continue
            placed += 1
            match = max(detected, key=lambda candidate: candidate.box.iou(cell.box), default=None)
            if match is None or match.box.iou(cell.box) < LEAST_IOU:
                continue
            found += 1
            detected.remove(match)
            named += match.identified
            right += match.identified and _same_type(match, cell)
        extra += len(detected)
    return Comparison(placed, found, extra, named, right)


def _same_type(cell: Cell, placed: PlacedCell) -> bool:
    said = cell.classification
    return (
        said is not None
        and placed.cell_type is not None
        and said.primary_type is primary_of(placed.cell_type)
    )
