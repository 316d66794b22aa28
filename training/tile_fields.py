"""PBC tiles as further fields for the detector: cells that no smear field has boxes of.

No smear field has a box around an erythroblast or an immature granulocyte, and tiles show platelets larger than any
field does. The cell in a tile's middle is known; what stands around it is labelled by an earlier detector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from hemaserve.cells import CellType, primary_of
from training import datasets
from training.settings import settings

#: Tiles per primary type, and the class number that the label file gives the cell in the middle.
_WANTED: Final = {
    CellType.ERYTHROBLAST: (80, 0),
    CellType.IMMATURE_GRANULOCYTE: (80, 0),
    CellType.PLATELET: (100, 2),
}

#: Bystanders that the earlier detector is less sure of are not labelled.
_SCORE: Final = 0.4

_INPUT_PX: Final = 416


def write(images: Path, labels: Path, detector: Path) -> int:
    """Link a seeded choice of training tiles into `images` and write their YOLO label files. Returns how many.

    Args:
        images: folder for the links.
        labels: folder for the label files.
        detector: ultralytics checkpoint that labels the bystanders and draws the box of the cell in the middle; a tile
            without a box there is left out.
    """
    from ultralytics.models import YOLO  # noqa: PLC0415 - only after the torchvision shim

    yolo: Any = YOLO(detector)
    torch.set_num_threads(settings().threads)
    written = 0
    for path, kind in _choose():
        result = yolo.predict(path, imgsz=_INPUT_PX, conf=_SCORE, iou=0.6, verbose=False, device="cpu")[0]
        lines = label_lines(result.boxes.xyxyn.numpy(), result.boxes.cls.numpy().astype(int), kind)
        if lines:
            (images / path.name).symlink_to(path.resolve())
            (labels / f"{path.stem}.txt").write_text("\n".join(lines) + "\n")
            written += 1
    return written


def label_lines(boxes: Any, kinds: Any, middle_kind: int) -> list[str]:
    """YOLO label lines: every box with its kind, the one in the tile's middle with `middle_kind`.

    Args:
        boxes: float [N, 4] x0, y0, x1, y1 as shares of the tile's side.
        kinds: int [N] class numbers.
        middle_kind: class number of the cell in the middle.

    Returns:
        Nothing when no white cell or platelet covers the middle.
    """
    covers = ((boxes[:, :2] < 0.5) & (boxes[:, 2:] > 0.5)).all(axis=1) & (kinds != 1)
    if not covers.any():
        return []
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = min(np.flatnonzero(covers), key=lambda row: float(np.abs(centers[row] - 0.5).sum()))
    kinds = kinds.copy()
    kinds[middle] = middle_kind
    sizes = boxes[:, 2:] - boxes[:, :2]
    return [
        f"{kind} {cx:.5f} {cy:.5f} {w:.5f} {h:.5f}"
        for kind, (cx, cy), (w, h) in zip(kinds, centers, sizes, strict=True)
    ]


def _choose() -> list[tuple[Path, int]]:
    generator = np.random.default_rng(settings().seed)
    chosen: list[tuple[Path, int]] = []
    tiles = datasets.pbc_tiles("train")
    primary = [primary_of(tile.cell_type) for tile in tiles]
    for cell_type, (count, kind) in _WANTED.items():
        members = [tile.path for tile, own in zip(tiles, primary, strict=True) if own is cell_type]
        chosen += [(members[i], kind) for i in generator.choice(len(members), count, replace=False)]
    return chosen
