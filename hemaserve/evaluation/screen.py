"""Evaluating the leukemia screen: are malignant fields flagged and benign ones not, and do malignant cells pass?"""

import asyncio
from pathlib import Path
from typing import Final

import numpy as np

from hemaserve.cells import Kind
from hemaserve.client import Acquisition, Client
from hemaserve.client.errors import error_of
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.errors import FailedPrecondition
from hemaserve.evaluation import extra
from hemaserve.evaluation.asking import IN_FLIGHT, TIMEOUT_S, OnProgress, ask_all, read_image, spread_by
from hemaserve.evaluation.outcome import Evaluation, evaluation_of
from hemaserve.evaluation.screen_folders import ScreenField, read_screen_folders
from hemaserve.evaluation.screen_report import ScreenedField, ScreenReport, screen_report
from hemaserve.results import FieldResult, Model, ModelTask, Priority

_BLANK_PX: Final = 64


async def evaluate_screen(
    client: Client,
    folder: Path,
    *,
    model: str | None = None,
    site_profile: str | None = None,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Evaluation[ScreenReport]:
    """Screen every field of a folder that has one folder a class, and compare.

    Args:
        folder: its subfolders are named after the classes of the network that screens fields.
        model: classification model, for the types of cells; by default the services' default.
        site_profile: name of the profile that corrects the crops' colours for it; by default none. The screen itself
            sees fields and crops as they are.
        stop: set it to end early with the figures so far.
        on_progress: told after each field how many are done of how many.

    Raises:
        InvalidArgument: a folder is named after no class, or there is no image at all.
        FailedPrecondition: the extra `evaluate` is not installed.
        HemaServeError: the stack has no screening networks, or cannot be asked for them.
    """
    extra.check()
    network = await _network_of_fields(client)
    fields = read_screen_folders(folder, network.screen_classes)

    async def ask(field: ScreenField) -> FieldResult:
        result = await client.analyze_field(
            await read_image(field.path),
            model=model,
            kinds=(Kind.WBC,),
            screen=True,
            acquisition=Acquisition(site_profile=site_profile or ""),
            priority=Priority.BATCH,
            timeout_s=TIMEOUT_S,
        )
        if result.error is not None:
            raise error_of(result.error)
        return result

    spread = spread_by(fields, lambda field: field.label)
    answers = await ask_all(spread, ask, in_flight=in_flight, stop=stop, on_progress=on_progress)
    screened = [
        ScreenedField(field.label, field.label in network.screen_flag_classes, result.screen, result.cells)
        for field, result in answers.answered
        if result.screen is not None
    ]
    report = screen_report(screened, seconds=answers.seconds) if screened else None
    provenance = answers.answered[0][1].provenance if answers.answered else None
    return evaluation_of(answers, report, provenance, {"model": model, "site_profile": site_profile})


async def _network_of_fields(client: Client) -> Model:
    """The network that screens fields, which a stack may load only when it is first asked."""
    blank = encode_crop(np.full((_BLANK_PX, _BLANK_PX, 3), 255, np.uint8), CropEncoding.PNG)
    await client.analyze_field(blank, screen=True, priority=Priority.BATCH, timeout_s=TIMEOUT_S)
    for model in await client.list_models():
        if model.task is ModelTask.SCREEN_FIELD:
            return model
    raise FailedPrecondition("the stack does not list its leukemia screen", reason="SCREEN_NOT_LOADED")
