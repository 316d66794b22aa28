"""The cell of each PBC tile, as `training.boxes` found it once: where crops are cut."""

from __future__ import annotations

import json
from pathlib import Path

from hemaserve.geometry import Box
from training.settings import settings


def cache_path(split: str) -> Path:
    return settings().runs / "boxes" / f"pbc-{split}.json"


def boxes_of(split: str) -> dict[str, Box]:
    """The cached boxes by tile key, in the tile's pixels; tiles without a fitting detection are missing.

    Raises:
        FileNotFoundError: `training.boxes.find_boxes` has not been run for this split.
    """
    stored: dict[str, list[float] | None] = json.loads(cache_path(split).read_text())
    return {key: Box(*corners) for key, corners in stored.items() if corners is not None}
