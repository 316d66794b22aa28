"""Evaluating the detector on fields with boxes in YOLO format."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hemaserve.cells import Kind
from hemaserve.client import Client
from hemaserve.evaluation import extra
from hemaserve.evaluation.asking import IN_FLIGHT, TIMEOUT_S, Answers, OnProgress, ask_all, read_image
from hemaserve.evaluation.average_precision import ScoredBox, average_precision
from hemaserve.evaluation.datasets import LabelledField
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.matching import greedy_matches
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.outcome import Evaluation, evaluation_of
from hemaserve.geometry import Box, as_array
from hemaserve.results import DetectionResult, Priority, Provenance

LEAST_SCORE: Final = 0.01
"""Asked for so that the precision-recall curve reaches its end; recall and precision use the model's own thresholds."""


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """How well cells are found, by kind for the kinds that are labelled anywhere. None where a share is of nothing.

    Attributes:
        n: fields that were answered.
        map50: mean of `ap50` over the kinds.
        map50_95: mean over overlaps (IoU) of 0.5, 0.55, ... 0.95 as well.
        ap50: average precision at an overlap of 0.5 (COCO's, 101 points).
        recall: share of the labelled boxes that are found at an overlap of 0.5, at the model's own score thresholds.
        precision: share of the found boxes that are labelled ones, likewise.
        boxes: labelled boxes.
        score_thresholds: the model's own.
        seconds: wall time.
    """

    n: int
    map50: float | None
    map50_95: float | None
    ap50: dict[Kind, float]
    recall: dict[Kind, float]
    precision: dict[Kind, float | None]
    recall_ci95: dict[Kind, Interval]
    precision_ci95: dict[Kind, Interval]
    boxes: dict[Kind, int]
    score_thresholds: dict[Kind, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class FieldDetections:
    """The labels of one field in its pixels, and what was found there, best score first."""

    labelled: tuple[tuple[Box, Kind], ...]
    found: tuple[ScoredBox, ...]


async def evaluate_detections(
    client: Client,
    fields: Sequence[LabelledField],
    *,
    model: str | None = None,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Evaluation[DetectionReport]:
    """Find the cells of every field and compare with the labels.

    Args:
        fields: with boxes as shares of the image's sides.
        model: detection model; by default the services' default.
        stop: set it to end early with the figures so far.
        on_progress: told after each field how many are done of how many.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    extra.check()

    own: list[Provenance] = []

    async def ask(field: LabelledField) -> DetectionResult:
        result = await _detect(client, field, model, LEAST_SCORE)
        if not own:
            own.append((await _detect(client, field, model, None)).provenance)
        return result

    answers = await ask_all(fields, ask, in_flight=in_flight, stop=stop, on_progress=on_progress)
    provenance = own[0] if own else None
    report = None
    if provenance is not None and answers.answered:
        report = detection_report(_in_pixels(answers), thresholds_of(provenance), seconds=answers.seconds)
    return evaluation_of(answers, report, provenance, {"model": model, "least_score": LEAST_SCORE})


async def _detect(
    client: Client, field: LabelledField, model: str | None, score_threshold: float | None
) -> DetectionResult:
    return await client.detect_cells(
        await read_image(field.path),
        detector_model=model,
        score_threshold=score_threshold,
        priority=Priority.BATCH,
        timeout_s=TIMEOUT_S,
    )


def thresholds_of(provenance: Provenance) -> dict[Kind, float]:
    """Score thresholds by kind; 0 for a kind that the provenance does not speak of."""
    return dict.fromkeys(Kind, 0.0) | dict(zip(Kind, provenance.score_thresholds, strict=False))


def _in_pixels(answers: Answers[LabelledField, DetectionResult]) -> list[FieldDetections]:
    return [
        FieldDetections(
            tuple((_scaled(item.box, answer.width_px, answer.height_px), item.kind) for item in field.boxes),
            tuple(
                ScoredBox(item.box, item.kind, item.score)
                for item in sorted(answer.detections, key=lambda item: -item.score)
                if item.kind is not None
            ),
        )
        for field, answer in answers.answered
    ]


def _scaled(box: Box, width: float, height: float) -> Box:
    return Box(box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height)


def detection_report(
    fields: Sequence[FieldDetections], score_thresholds: Mapping[Kind, float], *, seconds: float
) -> DetectionReport:
    """The figures for at least one field. Pure.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    precision_curve = average_precision(
        [field.labelled for field in fields], [field.found for field in fields]
    )
    kinds = list(precision_curve.at_50)
    tallies = {kind: _tally(fields, kind, score_thresholds[kind]) for kind in kinds}
    return DetectionReport(
        n=len(fields),
        map50=precision_curve.mean_at_50,
        map50_95=precision_curve.mean_at_50_to_95,
        ap50=precision_curve.at_50,
        recall={kind: t.matched / t.labelled for kind, t in tallies.items()},
        precision={kind: t.matched / t.found if t.found else None for kind, t in tallies.items()},
        recall_ci95={kind: exact_interval(t.matched, t.labelled) for kind, t in tallies.items()},
        precision_ci95={kind: exact_interval(t.matched, t.found) for kind, t in tallies.items()},
        boxes={kind: t.labelled for kind, t in tallies.items()},
        score_thresholds=dict(score_thresholds),
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True)
class _Tally:
    matched: int
    found: int
    labelled: int


def _tally(fields: Sequence[FieldDetections], kind: Kind, least_score: float) -> _Tally:
    matched = found = labelled = 0
    for field in fields:
        found_boxes = [item.box for item in field.found if item.kind is kind and item.score >= least_score]
        labelled_boxes = [box for box, box_kind in field.labelled if box_kind is kind]
        matched += len(greedy_matches(as_array(found_boxes), as_array(labelled_boxes)))
        found += len(found_boxes)
        labelled += len(labelled_boxes)
    return _Tally(matched, found, labelled)
