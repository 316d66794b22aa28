"""Learning a laboratory's colours from its unlabelled fields, through the running services."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hemaserve.cells import Kind
from hemaserve.client import Client
from hemaserve.client.errors import HemaServeError
from hemaserve.errors import InvalidArgument
from hemaserve.evaluation.asking import (
    IN_FLIGHT,
    TIMEOUT_S,
    FailedImage,
    OnProgress,
    UnusableImage,
    ask_all,
    read_image,
)
from hemaserve.geometry import Box
from hemaserve.imaging import RgbImage, cut_crop, decode
from hemaserve.results import DetectionResult, Priority
from hemaserve.site_colours import FieldColours, field_colours

CROP_PX: Final = 96
_CROP_MARGIN: Final = 0.15
_KINDS: Final = (Kind.WBC, Kind.RBC)


@dataclass(frozen=True, slots=True)
class FieldFile:
    """A field that lies in a file."""

    path: Path


@dataclass(frozen=True, slots=True)
class ObservedField:
    """What one field showed.

    Attributes:
        colours: of its background, its red cells and its nuclei.
        crop: its best white cell, uint8 [CROP_PX, CROP_PX, 3]; None when it shows none.
    """

    colours: FieldColours
    crop: RgbImage | None


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of a laboratory.

    Attributes:
        fields: those that could be looked at, in the order of the files.
        failed: files that could not be, and why.
        partial: files were left out, because somebody stopped it or because of `error`.
        error: what ended it early.
    """

    fields: Sequence[ObservedField]
    failed: Sequence[FailedImage]
    partial: bool
    error: HemaServeError | None

    @property
    def colours(self) -> list[FieldColours]:
        return [field.colours for field in self.fields]

    @property
    def white_cells(self) -> int:
        return sum(len(colours.nuclei) for colours in self.colours)

    @property
    def red_cells(self) -> int:
        return sum(len(colours.red_cells) for colours in self.colours)

    def crops(self, most: int) -> list[RgbImage]:
        """Up to `most` crops of white cells, of fields evenly spread over all of them."""
        crops = [field.crop for field in self.fields if field.crop is not None]
        return (
            [crops[index] for index in np.unique(np.linspace(0, len(crops) - 1, most).astype(int))]
            if crops
            else []
        )


def evenly(files: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of the files, evenly spread over them, in their order."""
    return [files[index * len(files) // most] for index in range(most)] if len(files) > most else list(files)


async def observe_fields(
    client: Client,
    files: Sequence[Path],
    *,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Observed:
    """Look at the colours of fields whose cells the services find. Keeps no field longer than it looks at it.

    Args:
        files: the fields; one that is no image, or that the services refuse, is listed and left out.
        stop: set it to end early with what was seen until then.
        on_progress: told after each field how many are done of how many.
    """

    async def ask(file: FieldFile) -> ObservedField:
        data = await read_image(file.path)
        found = await client.detect_cells(data, kinds=_KINDS, priority=Priority.BATCH, timeout_s=TIMEOUT_S)
        return await asyncio.to_thread(_observe, data, found)

    answers = await ask_all(
        [FieldFile(path) for path in files], ask, in_flight=in_flight, stop=stop, on_progress=on_progress
    )
    failed = sorted(answers.failed, key=lambda item: item.path)
    return Observed([field for _, field in answers.answered], failed, answers.partial, answers.error)


def _observe(data: bytes, found: DetectionResult) -> ObservedField:
    try:
        image = decode(data)
    except InvalidArgument as error:
        raise UnusableImage(f"{error.value}; allowed: {error.allowed}") from None
    white_cells, red_cells = _boxes(found, Kind.WBC), _boxes(found, Kind.RBC)
    # The services tell the best detection first.
    crop = cut_crop(image, white_cells[0], size=CROP_PX, margin=_CROP_MARGIN) if white_cells else None
    return ObservedField(field_colours(image, white_cells, red_cells), crop)


def _boxes(found: DetectionResult, kind: Kind) -> list[Box]:
    return [detection.box for detection in found.detections if detection.kind is kind]
