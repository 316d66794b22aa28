"""Evaluating on images with one cell in the middle of each, along the path that a user's field takes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hemaserve.cells import CellType, Kind
from hemaserve.client import Acquisition, Client, LocatedCell
from hemaserve.client.errors import error_of
from hemaserve.errors import InvalidArgument
from hemaserve.evaluation import extra
from hemaserve.evaluation.abstention import counted_reasons
from hemaserve.evaluation.asking import (
    IN_FLIGHT,
    TIMEOUT_S,
    Answers,
    OnProgress,
    UnusableImage,
    ask_all,
    read_image,
    spread_by,
)
from hemaserve.evaluation.cell_report import CellReport, cell_report
from hemaserve.evaluation.datasets import CellImage, Finer
from hemaserve.evaluation.guessing import (
    Guess,
    LeafGuess,
    check_closed_set,
    closed_guess,
    closed_truth,
    leaf_guess,
    open_guess,
)
from hemaserve.evaluation.matching import central_box, centred_box
from hemaserve.evaluation.outcome import Evaluation, evaluation_of
from hemaserve.results import Classification, Priority, Provenance

FALLBACK_SHARE: Final = 0.6
"""Side of the box that is classified when no detection holds the image's centre, as a share of the shorter side."""

_KINDS: Final = (Kind.WBC, Kind.PLATELET)


@dataclass(frozen=True, slots=True)
class NamedImage:
    """What came back for one image.

    Attributes:
        fallback: no detection holds the centre: the middle of the image was classified.
    """

    classification: Classification
    provenance: Provenance
    fallback: bool


async def evaluate_cells(
    client: Client,
    images: Sequence[CellImage],
    *,
    model: str | None = None,
    site_profile: str | None = None,
    types: Sequence[CellType] = (),
    finer: Finer | None = None,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Evaluation[CellReport]:
    """Name the cell in the middle of every image and compare with the labels.

    Args:
        model: classification model; by default the services' default.
        site_profile: name of the profile that corrects the images' colours; by default none.
        types: a closed set to choose from; images of other types are left out.
        finer: where the images' finest types are from, to be told among the settings.
        stop: set it to end early with the figures so far.
        on_progress: told after each image how many are done of how many.

    Raises:
        InvalidArgument: `types` is no closed set, or no image belongs to it.
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    extra.check()
    closed = check_closed_set(types) if types else ()
    if closed:
        images = [image for image in images if closed_truth(image.cell_type, closed)]
        if not images:
            raise InvalidArgument("--types", ", ".join(closed), "types that some of the images are of")

    async def ask(image: CellImage) -> NamedImage:
        return await _name(client, await read_image(image.path), model, site_profile)

    answers = await ask_all(spread(images), ask, in_flight=in_flight, stop=stop, on_progress=on_progress)
    named = [answer for _, answer in answers.answered]
    folder_types = frozenset(image.cell_type for image in images)
    guesses = [
        _guess(answer.classification, image.cell_type, folder_types, closed)
        for image, answer in answers.answered
    ]
    report = None
    if guesses:
        report = cell_report(
            guesses,
            [] if closed else _leaf_guesses(answers),
            unidentified_reasons=counted_reasons(answer.classification for answer in named),
            fallbacks=sum(answer.fallback for answer in named),
            degraded=sum(answer.classification.degraded for answer in named),
            seconds=answers.seconds,
        )
    # A fallback's provenance names no detector, so one of a detected cell says more.
    telling = min(named, key=lambda answer: answer.fallback, default=None)
    settings = {"model": model, "site_profile": site_profile, "types": list(closed) or None, "finer": finer}
    return evaluation_of(answers, report, telling.provenance if telling else None, settings)


def spread(images: Sequence[CellImage]) -> list[CellImage]:
    """The images in an order in which every part holds each type in about its share of the whole.

    So the figures of an evaluation that is stopped early are of all types.
    """
    return spread_by(images, lambda image: image.cell_type)


def _guess(
    said: Classification, folder_type: CellType, folder_types: frozenset[CellType], closed: Sequence[CellType]
) -> Guess:
    truth = closed_truth(folder_type, closed)
    if truth is None:
        return open_guess(said.leaf_probabilities, folder_type, folder_types, identified=said.identified)
    return closed_guess(said.leaf_probabilities, truth, closed, identified=said.identified)


def _leaf_guesses(answers: Answers[CellImage, NamedImage]) -> list[LeafGuess]:
    guesses = (
        leaf_guess(answer.classification.leaf_probabilities, image.finest)
        for image, answer in answers.answered
    )
    return [guess for guess in guesses if guess is not None]


async def _name(client: Client, image: bytes, model: str | None, site_profile: str | None) -> NamedImage:
    field = await client.analyze_field(
        image,
        model=model,
        kinds=_KINDS,
        acquisition=Acquisition(site_profile=site_profile or ""),
        priority=Priority.BATCH,
        timeout_s=TIMEOUT_S,
    )
    if field.error is not None:
        raise error_of(field.error)
    index = central_box([cell.box for cell in field.cells], field.width_px, field.height_px)
    classification = None if index is None else field.cells[index].classification
    if classification is not None and classification.leaf_probabilities:
        return NamedImage(classification, field.provenance, fallback=False)
    box = centred_box(field.width_px, field.height_px, FALLBACK_SHARE)
    located = [LocatedCell(image, box=box)]
    (named,) = await client.classify_cells(
        located, model=model, site_profile=site_profile, priority=Priority.BATCH, timeout_s=TIMEOUT_S
    )
    if named.error is not None:
        raise error_of(named.error)
    if named.classification is None or not named.classification.leaf_probabilities:
        raise UnusableImage("answered with no type that this version knows")
    return NamedImage(named.classification, named.provenance, fallback=True)
