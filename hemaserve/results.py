"""What the client hands back: frozen, typed, free of protobuf.

An enum value that this version does not know is never an error: a type becomes None and its cell unidentified, a
kind becomes None, a reason becomes `OTHER`. `as_json` turns any of these into plain JSON values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

from hemaserve.cells import CellType, Kind
from hemaserve.geometry import Box


class Priority(StrEnum):
    """Order of service when the system is busy."""

    STAT = "stat"
    ROUTINE = "routine"
    BATCH = "batch"


class ResultStatus(StrEnum):
    """The life of a result."""

    PRELIMINARY = "preliminary"
    VERIFIED = "verified"
    AMENDED = "amended"
    OTHER = "other"


class ReviewReason(StrEnum):
    """Why a result should be looked at before anything else."""

    UNIDENTIFIED_ABOVE_LIMIT = "unidentified_above_limit"
    TOO_FEW_LEUKOCYTES = "too_few_leukocytes"
    DEGRADED = "degraded"
    FAILED_FIELDS = "failed_fields"
    OTHER = "other"


class SmearEnd(StrEnum):
    """Why a smear's count ended."""

    TARGET_REACHED = "target_reached"
    TOO_FEW = "too_few"
    ALL_COUNTED = "all_counted"
    OTHER = "other"


class ModelTask(StrEnum):
    """What a model is for."""

    DETECTION = "detection"
    CLASSIFICATION = "classification"
    OTHER = "other"


class CropEncoding(StrEnum):
    """How the crops of cells travel, where they are wanted."""

    NONE = "none"
    RAW_RGB8 = "raw_rgb8"
    PNG = "png"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that no retry will make right."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be done, as the service said it.

    Attributes:
        code: canonical gRPC code, e.g. `INVALID_ARGUMENT`.
        reason: stable UPPER_SNAKE_CASE name to branch on, e.g. `IMAGE_DAMAGED`; empty when the service gave none.
        message: for people.
        violations: the request's fields at fault.
        retry_after_s: when trying again may help, in seconds; None when the service did not say.
    """

    code: str
    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Which network, exactly: its name, the model server's version, the SHA-256 of its file."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer came from, so that it can be repeated and defended.

    Attributes:
        detector: None for cells that the caller located.
        classifier: None where nothing was classified.
        members: the ensemble's members that took part.
        identify_threshold: least probability of the primary type for a cell to count as identified, 0 to 1.
        score_thresholds: detections below were dropped, 0 to 1, by kind in the order WBC, RBC, platelet.
        software_version: version of the HemaServe that answered.
    """

    detector: ModelSource | None
    classifier: ModelSource | None
    members: tuple[ModelSource, ...]
    preprocessing_version: str
    identify_threshold: float
    score_thresholds: tuple[float, ...]
    software_version: str


@dataclass(frozen=True, slots=True)
class MemberOpinion:
    """What one member network of an ensemble said: calibrated probabilities over the leaf types that it knows."""

    model: str
    leaf_probabilities: Mapping[CellType, float]


@dataclass(frozen=True, slots=True)
class Classification:
    """What the classifier says about one cell.

    Attributes:
        identified: whether the classifier commits itself. When False the types are a guess, counted nowhere.
        type: the finest type that it is sure of; None when unknown to this client (then never identified).
        primary_type: what the differential counts; None as for `type`.
        probability: calibrated probability of `primary_type`, 0 to 1.
        leaf_probabilities: calibrated, over the leaf types.
        members: what each member said, when the model is an ensemble.
        degraded: a member of the ensemble was missing or late.
    """

    identified: bool
    type: CellType | None
    primary_type: CellType | None
    probability: float
    leaf_probabilities: Mapping[CellType, float]
    members: tuple[MemberOpinion, ...] = ()
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Crop:
    """The square around one cell: `size_px` a side, `data` in `encoding`."""

    size_px: int
    encoding: CropEncoding
    data: bytes


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that the detector found.

    Attributes:
        cell_id: its id within its field.
        box: in pixels of the field as displayed (EXIF orientation applied).
        kind: None when unknown to this client.
        score: the detector's score, 0 to 1; not a calibrated probability.
        crop: where it was asked for.
    """

    cell_id: str
    box: Box
    kind: Kind | None
    score: float
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class Cell(Detection):
    """A detection with its classification.

    Attributes:
        classification: None when the service sent none.
        counted_elsewhere: left out of the count because an overlapping field, counted before, shows it too.
    """

    classification: Classification | None = None
    counted_elsewhere: bool = False

    @property
    def identified(self) -> bool:
        return self.classification is not None and self.classification.identified


@dataclass(frozen=True, slots=True)
class TypeShare:
    """A type's share of the identified leukocytes.

    Attributes:
        type: None when unknown to this client.
        percent: per 100 identified leukocytes; None when there are none.
        percent_low, percent_high: exact (Clopper-Pearson) 95% limits; None with `percent` and for erythroblasts.
        loinc: code of the share; empty where there is none.
    """

    type: CellType | None
    count: int
    percent: float | None
    percent_low: float | None
    percent_high: float | None
    loinc: str


@dataclass(frozen=True, slots=True)
class Differential:
    """Cells by type.

    Attributes:
        leukocytes: all primary types of leukocytes, also those with none.
        finer: leaves below them, as far as cells were named that finely.
        erythroblasts: per 100 leukocytes; None when the service did not report them.
        identified_leukocytes: the denominator.
        unidentified: cells that the classifier would not name, in neither the denominator nor the target.
        unidentified_share: unidentified / (identified leukocytes + unidentified), 0 to 1.
        review_reasons: why this should be reviewed first.
    """

    leukocytes: tuple[TypeShare, ...]
    finer: tuple[TypeShare, ...]
    erythroblasts: TypeShare | None
    identified_leukocytes: int
    unidentified: int
    unidentified_share: float
    review_reasons: tuple[ReviewReason, ...]


@dataclass(frozen=True, slots=True)
class FieldResult:
    """What was found in one field. `error` is set, and there are no cells, when it could not be analysed.

    Attributes:
        cells: the classified cells, best detection first.
        kind_counts: how many objects of each kind the detector found, classified or not.
        differential: over this field alone; None for a field of a smear, whose result has the differential.
    """

    result_id: str
    revision: int
    status: ResultStatus
    supersedes_result_id: str
    field_id: str
    sequence: int
    width_px: int
    height_px: int
    cells: tuple[Cell, ...]
    kind_counts: Mapping[Kind, int]
    image_sha256: str
    provenance: Provenance
    error: Failure | None = None
    differential: Differential | None = None


@dataclass(frozen=True, slots=True)
class SmearResult:
    """The differential of a smear.

    Attributes:
        target: identified leukocytes asked for; 0 for none.
        fields_counted: failed ones not among them.
        last_sequence: of the last field that was counted.
        counted_elsewhere: cells left out because an overlapping field shows them too.
        fields: the field results in sequence order.
    """

    result_id: str
    revision: int
    status: ResultStatus
    supersedes_result_id: str
    smear_id: str
    specimen: str
    differential: Differential
    end: SmearEnd
    target: int
    fields_counted: int
    failed_field_ids: tuple[str, ...]
    last_sequence: int
    counted_elsewhere: int
    provenance: Provenance
    fields: tuple[FieldResult, ...]


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """The cells of one field, unnamed; best score first."""

    field_id: str
    width_px: int
    height_px: int
    detections: tuple[Detection, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class NamedCell:
    """The answer for one located cell: exactly one of `classification` and `error` is set."""

    cell_id: str
    classification: Classification | None
    error: Failure | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Model:
    """A network, or an ensemble of them, that requests can name.

    Attributes:
        ready: whether it answers at this moment.
        input_size_px: side of the square image that it takes.
        leaf_types: types that it can answer; classification only.
        kinds: kinds that it can answer; detection only.
        members: names of its members, when it is an ensemble.
        crop_margin: around a cell's box, as a share of the box's longer side on each side; classification only.
        licence: SPDX identifier.
    """

    name: str
    title: str
    task: ModelTask
    source: ModelSource
    ready: bool
    is_default: bool
    input_size_px: int
    leaf_types: tuple[CellType, ...]
    kinds: tuple[Kind, ...]
    members: tuple[str, ...]
    crop_margin: float
    licence: str


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the gateway, and with it all that it needs, answers at this moment."""

    address: str
    serving: bool


def as_json(value: object) -> object:
    """Plain JSON values (dict, list, str, number, bool, None) of a result. Crops are left out: they are pixels."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value) if f.name != "crop"}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    return value
