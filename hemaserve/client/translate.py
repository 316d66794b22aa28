"""Protobuf to `hemaserve.results` and back: the only place of the client that knows both."""

from collections.abc import Iterable, Mapping
from datetime import UTC
from enum import Enum
from typing import Final, TypeVar

import numpy as np
from google.protobuf.descriptor import EnumDescriptor

from hemaserve import results as r
from hemaserve.cells import CellType, Kind
from hemaserve.client.errors import failure_of_status
from hemaserve.geometry import Box
from hemaserve.v1 import cells_pb2, gateway_pb2

_E = TypeVar("_E", bound=Enum)


def _known(enum: EnumDescriptor, prefix: str, ours: type[_E]) -> dict[int, _E]:
    """Our member for each value of a protobuf enum: they differ by the prefix of the names only."""
    by_name = {f"{prefix}_{member.name}": member for member in ours}
    return {value.number: by_name[value.name] for value in enum.values if value.name in by_name}


_TYPES: Final = _known(cells_pb2.CellType.DESCRIPTOR, "CELL_TYPE", CellType)
_KINDS: Final = _known(cells_pb2.CellKind.DESCRIPTOR, "CELL_KIND", Kind)
_ENCODINGS: Final = _known(cells_pb2.CropEncoding.DESCRIPTOR, "CROP_ENCODING", r.CropEncoding)
_UNIDENTIFIED_REASONS: Final = _known(
    cells_pb2.UnidentifiedReason.DESCRIPTOR, "UNIDENTIFIED_REASON", r.UnidentifiedReason
)
_TASKS: Final = _known(cells_pb2.ModelTask.DESCRIPTOR, "MODEL_TASK", r.ModelTask)
_PRIORITIES: Final = _known(gateway_pb2.Priority.DESCRIPTOR, "PRIORITY", r.Priority)
_STATUSES: Final = _known(gateway_pb2.ResultStatus.DESCRIPTOR, "RESULT_STATUS", r.ResultStatus)
_REASONS: Final = _known(gateway_pb2.ReviewReason.DESCRIPTOR, "REVIEW_REASON", r.ReviewReason)
_ENDS: Final = _known(gateway_pb2.SmearEnd.DESCRIPTOR, "SMEAR_END", r.SmearEnd)


def kinds_to_proto(kinds: Iterable[Kind]) -> list[cells_pb2.CellKind.ValueType]:
    return [cells_pb2.CellKind.Value(f"CELL_KIND_{kind.name}") for kind in kinds]


def priority_to_proto(priority: r.Priority) -> gateway_pb2.Priority.ValueType:
    return gateway_pb2.Priority.Value(f"PRIORITY_{priority.name}")


def encoding_to_proto(encoding: r.CropEncoding) -> cells_pb2.CropEncoding.ValueType:
    return cells_pb2.CropEncoding.Value(f"CROP_ENCODING_{encoding.name}")


def type_to_proto(cell_type: CellType | None) -> cells_pb2.CellType.ValueType:
    return cells_pb2.CellType.Value(f"CELL_TYPE_{'UNSPECIFIED' if cell_type is None else cell_type.name}")


def box_to_proto(box: Box) -> cells_pb2.Box:
    return cells_pb2.Box(x0_px=box.x0, y0_px=box.y0, x1_px=box.x1, y1_px=box.y1)


def _box(box: cells_pb2.Box) -> Box:
    return Box(box.x0_px, box.y0_px, box.x1_px, box.y1_px)


def _probabilities(items: Iterable[cells_pb2.TypeProbability]) -> Mapping[CellType, float]:
    return {_TYPES[item.type]: item.probability for item in items if item.type in _TYPES}


def classification(message: cells_pb2.Classification) -> r.Classification:
    cell_type, primary_type = _TYPES.get(message.type), _TYPES.get(message.primary_type)
    return r.Classification(
        identified=message.identified and cell_type is not None and primary_type is not None,
        type=cell_type,
        primary_type=primary_type,
        probability=message.probability,
        leaf_probabilities=_probabilities(message.leaf_probabilities),
        members=tuple(
            r.MemberOpinion(member.model, _probabilities(member.leaf_probabilities))
            for member in message.members
        ),
        degraded=message.degraded,
        ood_score=message.ood_score if message.HasField("ood_score") else None,
        disagreement=message.disagreement if message.HasField("disagreement") else None,
        unidentified_reasons=tuple(
            _UNIDENTIFIED_REASONS.get(reason, r.UnidentifiedReason.OTHER)
            for reason in message.unidentified_reasons
        ),
    )


def _crop(message: cells_pb2.Crop) -> r.Crop | None:
    if not message.data:
        return None
    encoding = _ENCODINGS.get(message.encoding, r.CropEncoding.NONE)
    return r.Crop(message.size_px, encoding, message.data)


def _cell(message: gateway_pb2.Cell) -> r.Cell:
    found = message.detection
    return r.Cell(
        cell_id=found.cell_id,
        box=_box(found.box),
        kind=_KINDS.get(found.kind),
        score=found.score,
        crop=_crop(message.crop),
        classification=(
            classification(message.classification) if message.HasField("classification") else None
        ),
        counted_elsewhere=message.counted_elsewhere,
        screen=_finding(message.screen) if message.HasField("screen") else None,
    )


def _finding(message: cells_pb2.ScreenFinding) -> r.ScreenFinding:
    # `class` is a keyword of Python's.
    classes = {getattr(item, "class"): item.probability for item in message.classes}
    return r.ScreenFinding(message.flagged, message.probability, classes)


def _source(message: cells_pb2.ModelProvenance) -> r.ModelSource:
    return r.ModelSource(message.name, message.version, message.sha256)


def _provenance(message: cells_pb2.Provenance) -> r.Provenance:
    return r.Provenance(
        detector=_source(message.detector) if message.HasField("detector") else None,
        classifier=_source(message.classifier) if message.HasField("classifier") else None,
        members=tuple(map(_source, message.members)),
        preprocessing_version=message.preprocessing_version,
        identify_threshold=message.identify_threshold,
        score_thresholds=tuple(message.score_thresholds),
        software_version=message.software_version,
        site_profile=_profile_source(message.site_profile) if message.HasField("site_profile") else None,
        screens=tuple(map(_source, message.screens)),
        ood_limit=message.ood_limit if message.HasField("ood_limit") else None,
        disagreement_limit=message.disagreement_limit if message.HasField("disagreement_limit") else None,
    )


def _profile_source(message: cells_pb2.SiteProfileProvenance) -> r.SiteProfileSource:
    return r.SiteProfileSource(message.name, message.sha256)


def _share(message: gateway_pb2.TypeShare) -> r.TypeShare:
    return r.TypeShare(
        type=_TYPES.get(message.type),
        count=message.count,
        percent=message.percent if message.HasField("percent") else None,
        percent_low=message.percent_low if message.HasField("percent_low") else None,
        percent_high=message.percent_high if message.HasField("percent_high") else None,
        loinc=message.loinc,
    )


def differential(message: gateway_pb2.Differential) -> r.Differential:
    return r.Differential(
        leukocytes=tuple(map(_share, message.leukocytes)),
        finer=tuple(map(_share, message.finer)),
        erythroblasts=_share(message.erythroblasts) if message.HasField("erythroblasts") else None,
        identified_leukocytes=message.identified_leukocytes,
        unidentified=message.unidentified,
        unidentified_share=message.unidentified_share,
        review_reasons=tuple(_REASONS.get(reason, r.ReviewReason.OTHER) for reason in message.review_reasons),
    )


def field_result(
    message: gateway_pb2.FieldResult, counts: gateway_pb2.Differential | None = None
) -> r.FieldResult:
    return r.FieldResult(
        result_id=message.result_id,
        revision=message.revision,
        status=_STATUSES.get(message.status, r.ResultStatus.OTHER),
        supersedes_result_id=message.supersedes_result_id,
        field_id=message.field_id,
        sequence=message.sequence,
        width_px=message.width_px,
        height_px=message.height_px,
        cells=tuple(map(_cell, message.cells)),
        kind_counts={_KINDS[item.kind]: item.count for item in message.kind_counts if item.kind in _KINDS},
        image_sha256=message.image_sha256,
        provenance=_provenance(message.provenance),
        error=failure_of_status(message.error) if message.HasField("error") else None,
        differential=None if counts is None else differential(counts),
        screen=_finding(message.screen) if message.HasField("screen") else None,
    )


def smear_result(message: gateway_pb2.SmearResult, field_results: Iterable[r.FieldResult]) -> r.SmearResult:
    return r.SmearResult(
        result_id=message.result_id,
        revision=message.revision,
        status=_STATUSES.get(message.status, r.ResultStatus.OTHER),
        supersedes_result_id=message.supersedes_result_id,
        smear_id=message.smear_id,
        specimen=message.specimen,
        differential=differential(message.differential),
        end=_ENDS.get(message.end, r.SmearEnd.OTHER),
        target=message.target,
        fields_counted=message.fields_counted,
        failed_field_ids=tuple(message.failed_field_ids),
        last_sequence=message.last_sequence,
        counted_elsewhere=message.counted_elsewhere,
        provenance=_provenance(message.provenance),
        fields=tuple(sorted(field_results, key=lambda result: result.sequence)),
        screen=_smear_screen(message.screen) if message.HasField("screen") else None,
    )


def _smear_screen(message: gateway_pb2.SmearScreen) -> r.SmearScreen:
    return r.SmearScreen(
        fields_screened=message.fields_screened,
        fields_flagged=message.fields_flagged,
        cells_screened=message.cells_screened,
        cells_flagged=message.cells_flagged,
        flagged_field_ids=tuple(message.flagged_field_ids),
    )


def detection_result(message: gateway_pb2.DetectCellsResponse) -> r.DetectionResult:
    crops = {crop.cell_id: _crop(crop) for crop in message.crops}
    return r.DetectionResult(
        field_id=message.field_id,
        width_px=message.width_px,
        height_px=message.height_px,
        detections=tuple(
            r.Detection(
                cell_id=found.cell_id,
                box=_box(found.box),
                kind=_KINDS.get(found.kind),
                score=found.score,
                crop=crops.get(found.cell_id),
            )
            for found in message.detections
        ),
        provenance=_provenance(message.provenance),
    )


def named_cells(message: gateway_pb2.ClassifyCellsResponse) -> list[r.NamedCell]:
    provenance = _provenance(message.provenance)
    return [
        r.NamedCell(
            cell_id=cell.cell_id,
            classification=(classification(cell.classification) if cell.HasField("classification") else None),
            error=failure_of_status(cell.error) if cell.HasField("error") else None,
            provenance=provenance,
        )
        for cell in message.cells
    ]


def explained_cell(message: gateway_pb2.ExplainCellResponse) -> r.ExplainedCell:
    return r.ExplainedCell(
        cell_id=message.cell_id,
        classification=classification(message.classification),
        explanation=_explanation(message.explanation),
        provenance=_provenance(message.provenance),
    )


def _explanation(message: cells_pb2.Explanation) -> r.Explanation:
    values = np.frombuffer(message.values, np.uint8).reshape(message.height, message.width)
    return r.Explanation(_TYPES.get(message.type), values.astype(np.float32) / 255, _box(message.area))


def site_profile(message: cells_pb2.SiteProfile) -> r.SiteProfile:
    return r.SiteProfile(
        name=message.name,
        sha256=message.sha256,
        fields=message.fields,
        white_cells=message.white_cells,
        created_at=message.created_at.ToDatetime(UTC) if message.HasField("created_at") else None,
    )


def model(message: cells_pb2.Model) -> r.Model:
    return r.Model(
        name=message.name,
        title=message.title,
        task=_TASKS.get(message.task, r.ModelTask.OTHER),
        source=_source(message.provenance),
        ready=message.ready,
        is_default=message.is_default,
        input_size_px=message.input_size_px,
        leaf_types=tuple(_TYPES[value] for value in message.leaf_types if value in _TYPES),
        kinds=tuple(_KINDS[value] for value in message.kinds if value in _KINDS),
        members=tuple(message.members),
        crop_margin=message.crop_margin,
        licence=message.licence,
        screen_classes=tuple(message.screen_classes),
        screen_flag_classes=tuple(message.screen_flag_classes),
        explainable=message.explainable,
        rollout=_rollout(message.rollout) if message.HasField("rollout") else None,
        on_request=message.on_request,
    )


def _rollout(message: cells_pb2.Rollout) -> r.Rollout:
    return r.Rollout(
        stable=message.stable,
        candidate=message.candidate,
        share=message.share,
        shadow_share=message.shadow_share,
        missing=tuple(message.missing),
    )
