"""Explaining the cells of an analysis: what `hemaserve analyze --explain` adds to it."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hemaserve.cli.analysis import Analysis, free_name, progress_bar
from hemaserve.client import Client
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.explanation_sheet import ShownCell, explanation_sheet
from hemaserve.imaging import decode
from hemaserve.picture import label_of
from hemaserve.results import Cell, FieldResult

IN_FLIGHT: Final = 8
"""Cells that are explained at one time."""

_BLANK_PX: Final = 32


async def check_explainable(client: Client, model: str | None) -> None:
    """Return when the model's answers can be explained: found out before an analysis, on a blank crop.

    Raises:
        HemaServeError: they cannot; the message names models whose answers can be.
    """
    blank = np.full((_BLANK_PX, _BLANK_PX, 3), 255, np.uint8)
    await client.explain_cell(encode_crop(blank, CropEncoding.PNG), model=model)


async def explain_cells(
    client: Client, analysis: Analysis, *, model: str | None, site_profile: str | None
) -> dict[str, list[ShownCell]]:
    """Explain every cell that was named, with a progress bar on standard error.

    Args:
        analysis: made with crops, which are explained just as they were classified.

    Returns:
        By field id the field's cells, for those fields that have any.

    Raises:
        HemaServeError: a cell could not be explained.
    """
    fields = {field.field_id: named_cells(field) for _, field in analysis.analysed}
    slots = asyncio.Semaphore(IN_FLIGHT)
    with progress_bar() as progress:
        task = progress.add_task("Explaining", total=sum(map(len, fields.values())))

        async def explain(cell: Cell) -> ShownCell:
            assert cell.crop is not None  # noqa: S101 - see named_cells
            async with slots:
                explained = await client.explain_cell(cell.crop.data, model=model, site_profile=site_profile)
            progress.advance(task)
            caption = f"{cell.cell_id}  {label_of(cell)}"
            return ShownCell(caption, decode(cell.crop.data), explained.explanation.heat)

        return {
            field_id: await _together([explain(cell) for cell in cells])
            for field_id, cells in fields.items()
            if cells
        }


def write_explanations(
    analysis: Analysis, explained: Mapping[str, Sequence[ShownCell]], folder: Path
) -> Analysis:
    """Write a picture for each field whose cells were explained.

    Returns:
        The analysis, with the pictures' paths.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    for field_id, cells in explained.items():
        file = analysis.files[field_id]
        written[field_id] = free_name(folder, file, written.values(), "explained")
        explanation_sheet(cells, title=file.name).save(written[field_id])
    return replace(analysis, explanations=written)


def named_cells(field: FieldResult) -> list[Cell]:
    """The cells of a field that have a name, if only a guessed one, and a crop."""
    return [cell for cell in field.cells if cell.classification is not None and cell.crop is not None]


async def _together(coroutines: Iterable[Coroutine[Any, Any, ShownCell]]) -> list[ShownCell]:
    """The results of all, in their order; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
