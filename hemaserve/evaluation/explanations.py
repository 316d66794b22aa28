"""Evaluating explanations: does blotting out what a heat map marks move the answer more than blotting out elsewhere?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemaserve.cells import CellType, Kind
from hemaserve.client import Acquisition, Client
from hemaserve.client.errors import error_of
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.evaluation import blotting, extra
from hemaserve.evaluation.asking import (
    IN_FLIGHT,
    TIMEOUT_S,
    OnProgress,
    UnusableImage,
    ask_all,
    read_image,
)
from hemaserve.evaluation.cells import spread
from hemaserve.evaluation.datasets import CellImage
from hemaserve.evaluation.explanation_report import (
    BlottedCell,
    ExplanationReport,
    explanation_report,
    type_probability,
)
from hemaserve.evaluation.matching import central_box, centred_box
from hemaserve.evaluation.outcome import Evaluation, evaluation_of
from hemaserve.imaging import RgbImage, decode
from hemaserve.results import ExplainedCell, FieldResult, Priority

LIMIT: Final = 200
"""Cells to look at by default."""

RANDOM_PLACES: Final = 3
"""Random places for each cell; the mean of them counts."""

FALLBACK_SHARE: Final = 0.8
"""Side of the crop that is cut when no detection holds the image's centre, as a share of the shorter side."""

_SEED: Final = 20170814
_KINDS: Final = (Kind.WBC, Kind.PLATELET)


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What came of one image.

    Attributes:
        explained: its cell's explanation.
        blotted: what became of the type; None where the map marks nothing.
        fallback: no detection holds the centre: the middle of the image was taken for the crop.
    """

    explained: ExplainedCell
    blotted: BlottedCell | None
    fallback: bool


async def evaluate_explanations(
    client: Client,
    images: Sequence[CellImage],
    *,
    model: str | None = None,
    site_profile: str | None = None,
    limit: int = LIMIT,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Evaluation[ExplanationReport]:
    """Explain the cell in the middle of each image, blot out parts of its crop, and ask again.

    Args:
        model: classification model; by default the services' default.
        site_profile: name of the profile that corrects the images' colours; by default none.
        limit: how many images to take, of all types in proportion: always the same ones.
        stop: set it to end early with the figures so far.
        on_progress: told after each image how many are done of how many.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    extra.check()
    chosen = _chosen(images, limit)
    # The same crop is blotted out alike every time, in whatever order the answers come.
    number = {image.path: index for index, image in enumerate(chosen)}

    async def ask(image: CellImage) -> LookedAt:
        random = np.random.default_rng((_SEED, number[image.path]))
        return await _look_at(client, await read_image(image.path), model, site_profile, random)

    answers = await ask_all(chosen, ask, in_flight=in_flight, stop=stop, on_progress=on_progress)
    looked_at = [answer for _, answer in answers.answered]
    cells = [answer.blotted for answer in looked_at if answer.blotted is not None]
    report = None
    if cells:
        report = explanation_report(
            cells,
            unmarked=len(looked_at) - len(cells),
            fallbacks=sum(answer.fallback for answer in looked_at),
            degraded=sum(answer.explained.classification.degraded for answer in looked_at),
            seconds=answers.seconds,
        )
    provenance = looked_at[0].explained.provenance if looked_at else None
    settings = {"model": model, "site_profile": site_profile, "limit": limit}
    return evaluation_of(answers, report, provenance, settings)


def _chosen(images: Sequence[CellImage], limit: int) -> list[CellImage]:
    shuffled = np.random.default_rng(_SEED).permutation(len(images))
    return spread([images[index] for index in shuffled])[:limit]


async def _look_at(
    client: Client,
    image: bytes,
    model: str | None,
    site_profile: str | None,
    random: np.random.Generator,
) -> LookedAt:
    field = await client.analyze_field(
        image,
        model=model,
        kinds=_KINDS,
        crops=CropEncoding.PNG,
        acquisition=Acquisition(site_profile=site_profile or ""),
        priority=Priority.BATCH,
        timeout_s=TIMEOUT_S,
    )
    if field.error is not None:
        raise error_of(field.error)
    found = _crop_of(field)
    crop = _middle_of(image) if found is None else found
    explained = await client.explain_cell(
        encode_crop(crop, CropEncoding.PNG),
        model=model,
        site_profile=site_profile,
        priority=Priority.BATCH,
        timeout_s=TIMEOUT_S,
    )
    cell_type = explained.explanation.type
    if cell_type is None:
        raise UnusableImage("answered with no type that this version knows")
    heat = explained.explanation.heat
    if not heat.any():
        return LookedAt(explained, None, fallback=found is None)
    size = len(crop)
    marked = blotting.most_marked(heat, size, random)
    masks = [
        marked,
        blotting.least_marked(heat, size, random),
        blotting.middle(size),
        *(blotting.elsewhere(marked, random) for _ in range(RANDOM_PLACES)),
    ]
    crops = [blotting.blotted(crop, mask) for mask in masks]
    left, least, middle, *elsewhere = await _probabilities(client, crops, cell_type, model, site_profile)
    whole = type_probability(explained.classification.leaf_probabilities, cell_type)
    return LookedAt(
        explained, BlottedCell(whole, left, least, tuple(elsewhere), middle), fallback=found is None
    )


def _crop_of(field: FieldResult) -> RgbImage | None:
    """The crop of the cell in the middle of a field, just as the classifier saw it; None where no cell was found."""
    index = central_box([cell.box for cell in field.cells], field.width_px, field.height_px)
    crop = None if index is None else field.cells[index].crop
    return None if crop is None else decode(crop.data)


def _middle_of(image: bytes) -> RgbImage:
    pixels = decode(image)
    height, width = pixels.shape[:2]
    square = centred_box(width, height, FALLBACK_SHARE)
    left, top, side = round(square.x0), round(square.y0), round(square.width)
    return pixels[top : top + side, left : left + side]


async def _probabilities(
    client: Client,
    crops: Sequence[RgbImage],
    cell_type: CellType,
    model: str | None,
    site_profile: str | None,
) -> list[float]:
    named = await client.classify_cells(
        [encode_crop(crop, CropEncoding.PNG) for crop in crops],
        model=model,
        site_profile=site_profile,
        priority=Priority.BATCH,
        timeout_s=TIMEOUT_S,
    )
    probabilities = []
    for cell in named:
        if cell.error is not None:
            raise error_of(cell.error)
        if cell.classification is None:
            raise UnusableImage("answered with no type that this version knows")
        probabilities.append(type_probability(cell.classification.leaf_probabilities, cell_type))
    return probabilities
