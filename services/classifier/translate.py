"""Protobuf's words for the classifier's: requests into crops, what came of them into responses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Final

from google.protobuf import timestamp_pb2

from hemaserve.cells import CellType, UnidentifiedReason
from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.geometry import FloatArray
from hemaserve.imaging import PREPROCESSING_VERSION
from hemaserve.v1 import cells_pb2, classifier_pb2
from services.classifier.catalogue import ListedModel
from services.classifier.classifier import ClassifiedCrops, ExplainedCrop, NamedCell
from services.classifier.crops import EncodedCrop
from services.classifier.ensemble import Answer
from services.classifier.explanation import Explanation
from services.classifier.models import ClassificationModel
from services.classifier.profiles import StoredProfile
from services.classifier.screening_models import ScreeningModel
from services.runtime.errors import to_status
from services.runtime.translate import (
    check_count,
    check_edges,
    check_text,
    encoding_from_proto,
    requested_type,
    type_to_proto,
)

_REASON_TO_PROTO: Final = {
    reason: cells_pb2.UnidentifiedReason.Value(f"UNIDENTIFIED_REASON_{reason.name}")
    for reason in UnidentifiedReason
}

TOO_MANY_BYTES: Final = 4 * 2**20
"""The crops of a request have fewer, by its contract."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for classifications.

    Attributes:
        model: name of the model; empty for the default one.
        site_profile: name of the site profile; empty for none.
        response: an answer for each cell that has its ids and its box, and no outcome yet.
        crops: the crop of each cell. Whoever reads them empties the list, so that their pixels can go.
        shadow_model: name of the model whose answers are compared, and not returned; empty for none.
    """

    model: str
    site_profile: str
    response: classifier_pb2.ClassifyResponse
    crops: list[EncodedCrop]
    shadow_model: str = ""


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """A request for an explanation.

    Attributes:
        model: name of the model; empty for the default one.
        site_profile: name of the site profile; empty for none.
        crop: the crop to explain.
        cell_type: the type to explain; None for the one that the cell is given.
    """

    model: str
    site_profile: str
    crop: EncodedCrop
    cell_type: CellType | None


def request_from_proto(request: classifier_pb2.ClassifyRequest, *, max_cells: int) -> Request:
    """A request; what is wrong with a single crop is left to whoever reads it.

    Raises:
        InvalidArgument: too many cells, or a name or id that is too long.
    """
    check_text(request.model, field="model")
    check_text(request.site_profile, field="site_profile")
    check_text(request.shadow_model, field="shadow_model")
    crops = crops_from_proto(request, max_cells=max_cells)
    return Request(request.model, request.site_profile, _response_to(request), crops, request.shadow_model)


def crops_from_proto(
    request: classifier_pb2.ClassifyRequest | classifier_pb2.ScreenCellsRequest, *, max_cells: int
) -> list[EncodedCrop]:
    """The crop of each cell of a request; what is wrong with a single one is left to whoever reads it.

    Raises:
        InvalidArgument: too many cells or too many bytes, or an id that is too long.
    """
    check_count(len(request.cells), field="cells", most=max_cells)
    # The server lets larger messages in, because fields come in one. What a message takes is only found by writing it.
    if (size := sum(len(cell.crop.data) for cell in request.cells)) >= TOO_MANY_BYTES:
        raise InvalidArgument(
            "cells", f"{size} bytes of crops", f"less than {TOO_MANY_BYTES} bytes", reason="REQUEST_TOO_LARGE"
        )
    for index, cell in enumerate(request.cells):
        check_text(cell.field_id, field=f"cells[{index}].field_id")
        check_text(cell.crop.cell_id, field=f"cells[{index}].crop.cell_id")
        check_edges(cell.box, field=f"cells[{index}].box")
    return [_encoded_crop(cell.crop, f"cells[{index}].crop") for index, cell in enumerate(request.cells)]


def explain_request_from_proto(request: classifier_pb2.ExplainRequest) -> ExplainRequest:
    """A request for an explanation; what is wrong with its crop is left to whoever reads it.

    Raises:
        InvalidArgument: a name or id that is too long, or a type that there is not.
    """
    check_text(request.cell.field_id, field="cell.field_id")
    check_text(request.cell.crop.cell_id, field="cell.crop.cell_id")
    check_edges(request.cell.box, field="cell.box")
    return ExplainRequest(
        model=check_text(request.model, field="model"),
        site_profile=check_text(request.site_profile, field="site_profile"),
        crop=_encoded_crop(request.cell.crop, "cell.crop"),
        cell_type=requested_type(request.type, field="type"),
    )


def _encoded_crop(crop: cells_pb2.Crop, path: str) -> EncodedCrop:
    encoding = encoding_from_proto(crop.encoding, default=CropEncoding.RAW_RGB8)
    return EncodedCrop(path, crop.size_px, encoding, crop.data)


def _response_to(request: classifier_pb2.ClassifyRequest) -> classifier_pb2.ClassifyResponse:
    response = classifier_pb2.ClassifyResponse()
    for cell in request.cells:
        answer = response.cells.add(field_id=cell.field_id, cell_id=cell.crop.cell_id)
        if cell.HasField("box"):
            answer.box.CopyFrom(cell.box)
    return response


def fill_in(response: classifier_pb2.ClassifyResponse, classified: ClassifiedCrops) -> None:
    """Give each cell of the response to a request what came of it, and the response its provenance."""
    answer = classified.answer
    blank = _blank(answer)
    for cell, outcome in zip(response.cells, classified.outcomes, strict=True):
        if isinstance(outcome, NamedCell):
            _fill_in_classification(cell.classification, blank, outcome, answer)
        else:
            cell.error.CopyFrom(to_status(outcome))
    response.provenance.CopyFrom(_provenance_to_proto(answer, classified.site_profile))


def explain_response_to_proto(explained: ExplainedCrop) -> classifier_pb2.ExplainResponse:
    """The response to a request for an explanation."""
    answer = explained.answer
    response = classifier_pb2.ExplainResponse(
        explanation=_explanation_to_proto(explained.explanation),
        provenance=_provenance_to_proto(answer, explained.site_profile),
    )
    _fill_in_classification(response.classification, _blank(answer), explained.cell, answer)
    return response


def _explanation_to_proto(explanation: Explanation) -> cells_pb2.Explanation:
    height, width = explanation.values.shape
    return cells_pb2.Explanation(
        type=type_to_proto(explanation.cell_type),
        width=width,
        height=height,
        values=explanation.values.tobytes(),
    )


def _blank(answer: Answer) -> cells_pb2.Classification:
    """A classification without numbers. Copying it and filling it in takes a third of making all of its parts.

    Each message that is made on its own has memory of its own besides, and after some ten thousand of them protobuf
    has the C library give all free memory back to the system (`malloc_trim`), and make each page anew.
    """
    blank = cells_pb2.Classification(degraded=answer.degraded)
    types = _types_to_proto(answer.model.leaf_types)
    members = [blank.members.add(model=member) for member in answer.opinions]
    for entries in (blank.leaf_probabilities, *(member.leaf_probabilities for member in members)):
        for cell_type in types:
            entries.add(type=cell_type)
    return blank


def _fill_in_classification(
    classification: cells_pb2.Classification,
    blank: cells_pb2.Classification,
    cell: NamedCell,
    answer: Answer,
) -> None:
    decision, row = cell.decision, cell.row
    classification.CopyFrom(blank)
    classification.identified = decision.identified
    classification.type = type_to_proto(decision.cell_type)
    classification.primary_type = type_to_proto(decision.primary_type)
    classification.probability = decision.probability
    _fill_in_probabilities(classification.leaf_probabilities, answer.probabilities[row])
    for member, opinions in zip(classification.members, answer.opinions.values(), strict=True):
        _fill_in_probabilities(member.leaf_probabilities, opinions[row])
    if answer.ood_scores is not None:
        classification.ood_score = answer.ood_scores[row]
    if answer.disagreements is not None:
        classification.disagreement = answer.disagreements[row]
    classification.unidentified_reasons.extend(_REASON_TO_PROTO[reason] for reason in decision.reasons)


def _fill_in_probabilities(entries: Iterable[cells_pb2.TypeProbability], row: FloatArray) -> None:
    for entry, probability in zip(entries, row.tolist(), strict=True):
        entry.probability = probability


def _provenance_to_proto(answer: Answer, profile: StoredProfile | None) -> cells_pb2.Provenance:
    model = answer.model
    # A degraded answer carries the name that was asked for, but not the version and digest of the whole ensemble.
    whole = cells_pb2.ModelProvenance(name=model.name) if answer.degraded else model_provenance(model)
    return cells_pb2.Provenance(
        classifier=whole,
        members=map(model_provenance, answer.members),
        preprocessing_version=PREPROCESSING_VERSION,
        identify_threshold=answer.thresholds.identify,
        ood_limit=answer.thresholds.ood_limit,
        disagreement_limit=answer.thresholds.disagreement_limit,
        software_version=_software_version(),
        site_profile=None if profile is None else _profile_provenance(profile),
    )


def model_provenance(model: ClassificationModel | ScreeningModel) -> cells_pb2.ModelProvenance:
    """Which network, exactly."""
    return cells_pb2.ModelProvenance(name=model.name, version=model.version, sha256=model.sha256)


def _profile_provenance(stored: StoredProfile) -> cells_pb2.SiteProfileProvenance:
    return cells_pb2.SiteProfileProvenance(name=stored.profile.name, sha256=stored.sha256)


@cache
def _software_version() -> str:
    return version("hemaserve")


def site_profile_to_proto(stored: StoredProfile) -> cells_pb2.SiteProfile:
    """A site profile as clients see it."""
    profile = stored.profile
    created_at = timestamp_pb2.Timestamp()
    created_at.FromDatetime(profile.created_at)
    return cells_pb2.SiteProfile(
        name=profile.name,
        sha256=stored.sha256,
        fields=profile.fields,
        white_cells=profile.white_cells,
        created_at=created_at,
    )


def model_to_proto(listed: ListedModel) -> cells_pb2.Model:
    """A model as clients see it."""
    model = listed.model
    return cells_pb2.Model(
        name=model.name,
        title=model.title,
        task=cells_pb2.MODEL_TASK_CLASSIFICATION,
        provenance=model_provenance(model),
        ready=listed.ready,
        is_default=listed.is_default,
        input_size_px=model.crop_size_px,
        leaf_types=_types_to_proto(model.leaf_types),
        members=model.members,
        crop_margin=model.crop_margin,
        licence=model.licence,
        explainable=listed.explainable,
    )


def unloaded_model_to_proto(name: str) -> cells_pb2.Model:
    """A model of which only the name is known yet."""
    return cells_pb2.Model(name=name, on_request=True)


def _types_to_proto(types: Sequence[CellType]) -> list[cells_pb2.CellType.ValueType]:
    return [type_to_proto(cell_type) for cell_type in types]
