"""The colours of the laboratory that most training cells come from: what site profiles correct to."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Final

from hemaserve.adaptation import Observed, evenly, observe_fields
from hemaserve.cells import CellType
from hemaserve.client import DEFAULT_ADDRESS, Client
from hemaserve.site_colours import REFERENCE_FORMAT, anchors_of
from training.datasets import pbc_tiles
from training.settings import REPOSITORY

log = logging.getLogger(__name__)

#: Package data of the client, so that `hemaserve adapt` has it.
PATH: Final = REPOSITORY / "hemaserve" / "reference_colours.json"

#: Tiles looked at, of all types of white cells in their shares of the training set.
TILES: Final = 400

_IN_FLIGHT: Final = 4


def write(address: str = DEFAULT_ADDRESS) -> Path:
    """Look at training tiles through the running services, as `hemaserve adapt` does, and write the reference.

    Raises:
        HemaServeError: no stack answers at `address`, or it failed.
        FailedPrecondition: too few cells were found.
    """
    tiles = [tile.path for tile in pbc_tiles("train") if tile.cell_type is not CellType.PLATELET]
    observed = asyncio.run(_observe(evenly(tiles, TILES), address))
    if observed.error is not None:
        raise observed.error
    anchors = anchors_of(observed.colours)
    document = {
        "format": REFERENCE_FORMAT,
        "source": "PBC, training tiles (doi 10.17632/snkd93bnjr.1)",
        "fields": len(observed.fields),
        "white_cells": observed.white_cells,
        "red_cells": observed.red_cells,
        "background": [round(value, 4) for value in anchors.background],
        "red_cell": [round(value, 4) for value in anchors.red_cell],
        "nucleus": [round(value, 4) for value in anchors.nucleus],
    }
    PATH.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return PATH


async def _observe(paths: list[Path], address: str) -> Observed:
    def on_progress(done: int, total: int) -> None:
        if done % 100 == 0:
            log.info("%d of %d tiles", done, total)

    async with Client(address) as client:
        return await observe_fields(client, paths, in_flight=_IN_FLIGHT, on_progress=on_progress)
