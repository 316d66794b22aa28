"""Make torchvision importable where its compiled extension cannot load.

torchvision's wheels link against CUDA; next to a CPU-only torch its ``_C`` library does not load, and from
then on ``import torchvision`` fails with ``operator torchvision::nms does not exist``, and with it ultralytics
and timm. Training needs one operator of that library. `install` defines it, and only where the real one is
missing: import this module's `install` before anything that may import torchvision.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import Any

import torch

from hemaserve import geometry

#: Operators that torchvision's Python code registers something for at import time.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: nothing to repair, the import itself will say so
    try:
        ctypes.CDLL(str(Path(spec.origin).parent / "_C.so"))
    except OSError:
        return False
    return True


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: [N, 4] float, x1, y1, x2, y2.
        scores: [N] float.
        iou_threshold: boxes that overlap a better one by more than this are dropped.

    Returns:
        [K] int64 indices of the kept boxes, best first.
    """
    kept = geometry.nms(boxes.float().numpy(), scores.float().numpy(), iou_threshold=iou_threshold)
    return torch.from_numpy(kept)


def install() -> bool:
    """Define the missing operators. Returns whether the shim was needed; calling it again is harmless."""
    if hasattr(torch.ops.torchvision, "nms") or _extension_loads():
        return False
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CPU")
    _KEEP_ALIVE.append(library)
    import torchvision.extension  # noqa: PLC0415 - only now that its operators exist

    torchvision.extension._has_ops = lambda: True
    return True


#: A `torch.library.Library` takes its operators with it when it is collected.
_KEEP_ALIVE: list[torch.library.Library] = []
