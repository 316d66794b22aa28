"""What is said of single cells and of models, and where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

from hemaserve.cells import CellType, Kind
from hemaserve.crops import CropEncoding
from hemaserve.geometry import Box
from hemaserve.results.words import ModelTask


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
