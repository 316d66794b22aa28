"""Where the running services see white cells in the leukemia fields, cached: what they will be asked to screen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

from hemaserve.cells import Kind
from hemaserve.geometry import Box
from hemaserve.imaging import touches_scale_bar
from training.progress import track
from training.settings import settings
from training.sources import LabelledLeukemiaField, leukemia_fields

_IN_FLIGHT: Final = 4

#: Fields of a class that are looked at, spread over the set: each takes the detector a second or more.
_MOST_FIELDS: Final = {
    "train": {"benign": 160, "early": 70, "pre": 70, "pro": 70},
    "val": {"benign": 40, "early": 20, "pre": 20, "pro": 20},
}

#: Given to the detector so that it need not look for the scale, which takes longer than what follows. Red cells have
#: some 12 px in these fields; at a coarser scale than that says, most white cells are found for a third of the passes.
_UM_PER_PX: Final = 0.35


def cache_path(split: str) -> Path:
    return settings().runs / "boxes" / f"leukemia-{split}.json"


def leukemia_boxes(split: str) -> list[tuple[LabelledLeukemiaField, Box]]:
    """The white cells that were found in the fields of a split, in a stable order.

    Raises:
        FileNotFoundError: `find_boxes` has not been run for this split.
    """
    stored: dict[str, list[list[float]]] = json.loads(cache_path(split).read_text())
    return [(field, Box(*corners)) for field in _chosen(split) for corners in stored[_key(field)]]


def find_boxes(split: str, address: str) -> int:
    """Ask the running services for the white cells of fields of a split; returns how many there are.

    Cells that touch the burned-in scale bar are left out: it goes with the class.
    """
    found = asyncio.run(_ask(_chosen(split), address))
    path = cache_path(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return sum(map(len, found.values()))


async def _ask(fields: list[LabelledLeukemiaField], address: str) -> dict[str, list[list[float]]]:
    # Who only reads what was found needs no client.
    from hemaserve.client import Acquisition, Client  # noqa: PLC0415

    found: dict[str, list[list[float]]] = {}
    async with Client(address, timeout_s=120) as client:
        room = asyncio.Semaphore(_IN_FLIGHT)

        async def ask(field: LabelledLeukemiaField) -> None:
            async with room:
                result = await client.detect_cells(
                    field.path, kinds=[Kind.WBC], acquisition=Acquisition(um_per_px=_UM_PER_PX)
                )
            found[_key(field)] = [
                [round(corner, 2) for corner in (box.x0, box.y0, box.x1, box.y1)]
                for box in (detection.box for detection in result.detections)
                if not touches_scale_bar(box, result.width_px, result.height_px)
            ]

        pending = [ask(field) for field in fields]
        for done in track(
            asyncio.as_completed(pending), "white cells of leukemia fields", total=len(pending)
        ):
            await done
    return found


def _chosen(split: str) -> list[LabelledLeukemiaField]:
    fields = leukemia_fields(split)
    chosen: list[LabelledLeukemiaField] = []
    for label, most in _MOST_FIELDS[split].items():
        own = [field for field in fields if field.label == label]
        chosen += own[:: max(1, len(own) // most)]
    return chosen


def _key(field: LabelledLeukemiaField) -> str:
    return f"{field.label}/{field.path.name}"
