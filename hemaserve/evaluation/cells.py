"""Evaluating on images with one cell in the middle of each, along the path that a user's field takes.

The detector finds the cell and the classifier names it, which gives what `AnalyzeField` gives, but for several
classifiers the detector is asked once.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hemaserve.cells import CellType
from hemaserve.client import Client, LocatedCell
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
    can_answer,
    check_closed_set,
    closed_guess,
    closed_truth,
    leaf_guess,
    open_guess,
)
from hemaserve.evaluation.locating import CentralCell, Locator, Place, WholeImage
from hemaserve.evaluation.outcome import Evaluation, evaluation_of
from hemaserve.results import Classification, Priority, Provenance


@dataclass(frozen=True, slots=True)
class NamedImage:
    """What came back for one image.

    Attributes:
        fallback: no detection holds the centre: the middle of the image was classified.
    """

    classification: Classification
    provenance: Provenance
    fallback: bool


async def evaluate_cells_by(
    client: Client,
    images: Sequence[CellImage],
    *,
    models: Sequence[str | None],
    site_profile: str | None = None,
    types: Sequence[CellType] = (),
    finer: Finer | None = None,
    whole: bool = False,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> list[Evaluation[CellReport]]:
    """`evaluate_cells` by one classifier after the other; the detector is asked about each image once.

    Returns:
        An evaluation for each of the models, in order; those after one that ended early are missing.
    """
    locator = WholeImage() if whole else CentralCell(client)
    evaluations: list[Evaluation[CellReport]] = []

    def on_part(done: int, total: int) -> None:
        on_progress(len(evaluations) * total + done, len(models) * total)

    for model in models:
        evaluation = await evaluate_cells(
            client,
            images,
            model=model,
            site_profile=site_profile,
            types=types,
            finer=finer,
            locator=locator,
            in_flight=in_flight,
            stop=stop,
            on_progress=on_part,
        )
        evaluations.append(evaluation)
        if evaluation.partial:
            break
    return evaluations


async def evaluate_cells(
    client: Client,
    images: Sequence[CellImage],
    *,
    model: str | None = None,
    site_profile: str | None = None,
    types: Sequence[CellType] = (),
    finer: Finer | None = None,
    locator: Locator | None = None,
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
        locator: says where the cell is; by default the detector is asked.
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

    locator = locator or CentralCell(client)

    async def ask(image: CellImage) -> NamedImage:
        data = await read_image(image.path)
        return await name_cell(client, data, await locator.place(image.path, data), model, site_profile)

    answers = await ask_all(spread(images), ask, in_flight=in_flight, stop=stop, on_progress=on_progress)
    named = [answer for _, answer in answers.answered]
    known = {leaf for answer in named for leaf in answer.classification.leaf_probabilities}
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
            unanswerable=Counter(guess.truth for guess in guesses if not can_answer(known, guess.truth)),
            fallbacks=sum(answer.fallback for answer in named),
            degraded=sum(answer.classification.degraded for answer in named),
            seconds=answers.seconds,
        )
    settings = {
        "model": model,
        "site_profile": site_profile,
        "types": list(closed) or None,
        "finer": finer,
        "whole": isinstance(locator, WholeImage),
    }
    return evaluation_of(answers, report, named[0].provenance if named else None, settings)


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


async def name_cell(
    client: Client, image: bytes, place: Place, model: str | None, site_profile: str | None
) -> NamedImage:
    """What one image's cell is.

    Raises:
        UnusableImage: it was given no type that is known here.
        HemaServeError: the services refuse the image, or cannot be reached.
    """
    (named,) = await client.classify_cells(
        [LocatedCell(image, box=place.box)],
        model=model,
        site_profile=site_profile,
        priority=Priority.BATCH,
        timeout_s=TIMEOUT_S,
    )
    if named.error is not None:
        raise error_of(named.error)
    if named.classification is None or not named.classification.leaf_probabilities:
        raise UnusableImage("answered with no type that this version knows")
    provenance = named.provenance
    if (found := place.provenance) is not None:
        provenance = replace(provenance, detector=found.detector, score_thresholds=found.score_thresholds)
    return NamedImage(named.classification, provenance, place.fallback)
