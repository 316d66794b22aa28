"""Protobuf's words for the screen's: what came of fields and crops into responses."""

from collections.abc import Sequence

from hemaserve.errors import InvalidArgument
from hemaserve.v1 import cells_pb2, classifier_pb2
from services.classifier.screening import Finding, ScreenedCrops, ScreenedField
from services.classifier.screening_models import ScreeningModel, ScreenTask
from services.classifier.translate import model_provenance
from services.runtime.errors import to_status

_TASK_TO_PROTO = {
    ScreenTask.FIELD: cells_pb2.MODEL_TASK_SCREEN_FIELD,
    ScreenTask.CELL: cells_pb2.MODEL_TASK_SCREEN_CELL,
}


def field_response_to_proto(screened: ScreenedField) -> classifier_pb2.ScreenFieldResponse:
    """The response about a field."""
    return classifier_pb2.ScreenFieldResponse(
        finding=_finding_to_proto(screened.finding, screened.model), model=model_provenance(screened.model)
    )


def cells_response_to_proto(
    cell_ids: Sequence[str], screened: ScreenedCrops
) -> classifier_pb2.ScreenCellsResponse:
    """The response to a request about cells: one answer for each id."""
    return classifier_pb2.ScreenCellsResponse(
        cells=[
            classifier_pb2.ScreenedCell(cell_id=cell_id, error=to_status(outcome))
            if isinstance(outcome, InvalidArgument)
            else classifier_pb2.ScreenedCell(
                cell_id=cell_id, finding=_finding_to_proto(outcome, screened.model)
            )
            for cell_id, outcome in zip(cell_ids, screened.outcomes, strict=True)
        ],
        model=model_provenance(screened.model),
    )


def screening_model_to_proto(model: ScreeningModel) -> cells_pb2.Model:
    """A screening network, which answers at this moment, as clients see it."""
    return cells_pb2.Model(
        name=model.name,
        title=model.title,
        task=_TASK_TO_PROTO[model.task],
        provenance=model_provenance(model),
        ready=True,
        is_default=True,
        input_size_px=model.input_px,
        crop_margin=model.crop_margin,
        licence=model.licence,
        screen_classes=model.classes,
        screen_flag_classes=model.flag_classes,
    )


def _finding_to_proto(finding: Finding, model: ScreeningModel) -> cells_pb2.ScreenFinding:
    # `class` is a keyword of Python's.
    return cells_pb2.ScreenFinding(
        flagged=finding.flagged,
        probability=finding.probability,
        classes=[
            cells_pb2.ScreenProbability(**{"class": name}, probability=probability)
            for name, probability in zip(model.classes, finding.probabilities, strict=True)
        ],
    )
