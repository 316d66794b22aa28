"""Where the cell of a single-cell image is: the detector is asked once, however many classifiers are to name it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from hemaserve.cells import Kind
from hemaserve.client import Client
from hemaserve.evaluation.asking import TIMEOUT_S
from hemaserve.evaluation.matching import central_box, centred_box
from hemaserve.geometry import Box
from hemaserve.results import Priority, Provenance

FALLBACK_SHARE: Final = 0.6
"""Side of the box that is classified when no detection holds the image's centre, as a share of the shorter side."""

_KINDS: Final = (Kind.WBC, Kind.PLATELET)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cell of an image is.

    Attributes:
        box: of the cell, in the image's pixels; None for the whole image.
        fallback: no detection holds the centre: the box is the middle of the image.
        provenance: of the detection; None when the detector was not asked.
    """

    box: Box | None
    fallback: bool = False
    provenance: Provenance | None = None


class Locator(Protocol):
    """Says where the cell of an image is."""

    async def place(self, path: Path, image: bytes) -> Place:
        """Where it is in the image file `image`, which was read from `path`."""
        ...


class WholeImage:
    """Every image is the crop of one cell, or is to be named as a whole: the detector is not asked."""

    async def place(self, path: Path, image: bytes) -> Place:  # noqa: ARG002 - it is the same for all
        return Place(None)


class CentralCell:
    """The white cell or platelet in the image's middle. What was found is remembered for the next classifier.

    All kinds are asked for, as `AnalyzeField` does, so that the boxes are those of a field's analysis.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: dict[Path, Place] = {}

    async def place(self, path: Path, image: bytes) -> Place:
        """Where the central cell is.

        Raises:
            HemaServeError: the services refuse the image, or cannot be reached.
        """
        if path not in self._places:
            self._places[path] = await self._find(image)
        return self._places[path]

    async def _find(self, image: bytes) -> Place:
        found = await self._client.detect_cells(image, priority=Priority.BATCH, timeout_s=TIMEOUT_S)
        boxes = [cell.box for cell in found.detections if cell.kind in _KINDS]
        index = central_box(boxes, found.width_px, found.height_px)
        if index is not None:
            return Place(boxes[index], provenance=found.provenance)
        middle = centred_box(found.width_px, found.height_px, FALLBACK_SHARE)
        return Place(middle, fallback=True, provenance=found.provenance)
