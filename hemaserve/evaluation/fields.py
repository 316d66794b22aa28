"""Evaluating whole fields: are the white cells found, and are they named as the field's labels say?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hemaserve.cells import CellType, Kind
from hemaserve.client import Acquisition, Client
from hemaserve.client.errors import error_of
from hemaserve.evaluation import extra
from hemaserve.evaluation.abstention import AbstentionPoint, abstention, counted_reasons
from hemaserve.evaluation.asking import IN_FLIGHT, TIMEOUT_S, OnProgress, ask_all, read_image
from hemaserve.evaluation.calibration import Calibration, calibration
from hemaserve.evaluation.datasets import LabelledField
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.guessing import Belief, most_probable, primary_probabilities
from hemaserve.evaluation.matching import greedy_matches, right_types
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.outcome import Evaluation, evaluation_of
from hemaserve.geometry import Box, as_array
from hemaserve.results import Cell, Classification, FieldResult, Priority, UnidentifiedReason


@dataclass(frozen=True, slots=True)
class FieldsReport:
    """How well white cells are found and named. None where there is nothing to divide by.

    Attributes:
        n: fields that were answered.
        wbc_recall: share of the labelled white cells that are found at an overlap (IoU) of 0.5 or more.
        wbc_precision: share of the found white cells that are labelled ones.
        type_accuracy: share of right best guesses (primary type, identified or not) among the found cells that match
            a labelled one, in fields whose types are known. See `matching.right_types` for fields with several.
        wbc_labelled: labelled white cells.
        wbc_found: found white cells.
        typed: the cells that `type_accuracy` is about.
        unidentified: those of them for which the classifier does not commit itself.
        unidentified_reasons: how many of these for which reason; one cell may have several.
        accuracy_identified: share of right types among the others, which is what a differential counts.
        calibration: how honest the probabilities are, over those of the typed cells whose field names one type only, so
            that it is known what each of them is; None when there are none.
        abstention: accuracy over the same cells when some are set aside, the unidentified ones first.
        abstention_by_probability: likewise, by probability alone.
        seconds: wall time.
    """

    n: int
    wbc_recall: float | None
    wbc_recall_ci95: Interval
    wbc_precision: float | None
    wbc_precision_ci95: Interval
    type_accuracy: float | None
    type_accuracy_ci95: Interval
    wbc_labelled: int
    wbc_found: int
    typed: int
    unidentified: int
    unidentified_reasons: dict[UnidentifiedReason, int]
    accuracy_identified: float | None
    accuracy_identified_ci95: Interval
    calibration: Calibration | None
    abstention: tuple[AbstentionPoint, ...]
    abstention_by_probability: tuple[AbstentionPoint, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class FieldTally:
    """What one field adds to the figures.

    Attributes:
        classified: what was said of the typed cells.
        beliefs: of those of them whose type is known for sure.
    """

    labelled: int
    found: int
    matched: int
    typed: int
    right: int
    unidentified: int
    right_identified: int
    classified: tuple[Classification, ...] = ()
    beliefs: tuple[Belief, ...] = ()


async def evaluate_fields(
    client: Client,
    fields: Sequence[LabelledField],
    *,
    model: str | None = None,
    site_profile: str | None = None,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Evaluation[FieldsReport]:
    """Find and name the white cells of every field and compare with the labels.

    Args:
        fields: with boxes in pixels and the types of their white cells.
        model: classification model; by default the services' default.
        site_profile: name of the profile that corrects the fields' colours; by default none.
        stop: set it to end early with the figures so far.
        on_progress: told after each field how many are done of how many.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    extra.check()

    async def ask(field: LabelledField) -> FieldResult:
        result = await client.analyze_field(
            await read_image(field.path),
            model=model,
            kinds=(Kind.WBC,),
            acquisition=Acquisition(site_profile=site_profile or ""),
            priority=Priority.BATCH,
            timeout_s=TIMEOUT_S,
        )
        if result.error is not None:
            raise error_of(result.error)
        return result

    answers = await ask_all(fields, ask, in_flight=in_flight, stop=stop, on_progress=on_progress)
    tallies = [tally_field(field, result.cells) for field, result in answers.answered]
    report = fields_report(tallies, seconds=answers.seconds) if tallies else None
    provenance = answers.answered[0][1].provenance if answers.answered else None
    return evaluation_of(answers, report, provenance, {"model": model, "site_profile": site_profile})


def tally_field(field: LabelledField, cells: Sequence[Cell]) -> FieldTally:
    """Compare one field's white cells with its labels. Pure."""
    white = sorted((cell for cell in cells if cell.kind is Kind.WBC), key=lambda cell: -cell.score)
    labelled: list[Box] = [item.box for item in field.boxes if item.kind is Kind.WBC]
    pairs = greedy_matches(as_array([cell.box for cell in white]), as_array(labelled))
    matched = [white[index] for index, _ in pairs]
    typed = matched if field.cell_types else []
    identified = [cell for cell in typed if cell.identified]
    classified = tuple(said for cell in typed if (said := cell.classification) is not None)
    return FieldTally(
        labelled=len(labelled),
        found=len(white),
        matched=len(matched),
        typed=len(typed),
        right=right_types(best_guesses(typed), field.cell_types),
        unidentified=len(typed) - len(identified),
        right_identified=right_types(best_guesses(identified), field.cell_types),
        classified=classified,
        beliefs=beliefs_of(classified, field.cell_types),
    )


def beliefs_of(classified: Sequence[Classification], types: Sequence[CellType]) -> tuple[Belief, ...]:
    """What is believed of cells whose field names one type; nothing where it names several, for which is which?"""
    if len(set(types)) != 1:
        return ()
    return tuple(
        Belief(primary_probabilities(said.leaf_probabilities), types[0], said.identified)
        for said in classified
        if said.leaf_probabilities
    )


def best_guesses(cells: Sequence[Cell]) -> list[CellType]:
    """The best guess for each cell of which anything was said."""
    return [guess for cell in cells if (guess := best_guess(cell)) is not None]


def best_guess(cell: Cell) -> CellType | None:
    """The primary type that a cell most probably is, identified or not; None when nothing was said of it."""
    if cell.classification is None or not cell.classification.leaf_probabilities:
        return None
    return most_probable(primary_probabilities(cell.classification.leaf_probabilities))


def fields_report(tallies: Sequence[FieldTally], *, seconds: float) -> FieldsReport:
    """The figures over at least one field. Pure.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    labelled = sum(tally.labelled for tally in tallies)
    found = sum(tally.found for tally in tallies)
    matched = sum(tally.matched for tally in tallies)
    typed = sum(tally.typed for tally in tallies)
    right = sum(tally.right for tally in tallies)
    unidentified = sum(tally.unidentified for tally in tallies)
    right_identified = sum(tally.right_identified for tally in tallies)
    identified = typed - unidentified
    beliefs = [belief for tally in tallies for belief in tally.beliefs]
    return FieldsReport(
        n=len(tallies),
        wbc_recall=matched / labelled if labelled else None,
        wbc_recall_ci95=exact_interval(matched, labelled),
        wbc_precision=matched / found if found else None,
        wbc_precision_ci95=exact_interval(matched, found),
        type_accuracy=right / typed if typed else None,
        type_accuracy_ci95=exact_interval(right, typed),
        wbc_labelled=labelled,
        wbc_found=found,
        typed=typed,
        unidentified=unidentified,
        unidentified_reasons=counted_reasons(said for tally in tallies for said in tally.classified),
        accuracy_identified=right_identified / identified if identified else None,
        accuracy_identified_ci95=exact_interval(right_identified, identified),
        calibration=calibration(beliefs) if beliefs else None,
        abstention=abstention(beliefs),
        abstention_by_probability=abstention(beliefs, by_probability=True),
        seconds=seconds,
    )
