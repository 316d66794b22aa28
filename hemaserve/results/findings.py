"""What is said of single cells, and where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

from hemaserve.cells import CellType, Kind
from hemaserve.crops import CropEncoding
from hemaserve.geometry import Box, FloatArray
from hemaserve.results.words import UnidentifiedReason


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
class SiteProfileSource:
    """Which site profile, exactly: its name and the SHA-256 of its file."""

    name: str
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
        site_profile: the profile that corrected the crops; None when none did, and for a smear whose fields do not
            agree on it: then each field's own provenance tells.
        screens: the networks of the leukemia screen that answered.
        ood_limit: a cell with a greater `ood_score` is unidentified; None when the model has no such limit.
        disagreement_limit: a cell with a greater `disagreement` is unidentified; None as for `ood_limit`.
    """

    detector: ModelSource | None
    classifier: ModelSource | None
    members: tuple[ModelSource, ...]
    preprocessing_version: str
    identify_threshold: float
    score_thresholds: tuple[float, ...]
    software_version: str
    site_profile: SiteProfileSource | None = None
    screens: tuple[ModelSource, ...] = ()
    ood_limit: float | None = None
    disagreement_limit: float | None = None


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
        ood_score: how unlike the crop is to those that the networks learned from: 0 is like the average of them, 1 one
            standard deviation stranger. None when the model does not say.
        disagreement: how far the members are apart, 0 to 1: the greatest total variation distance between two of them
            over the primary types. None when fewer than two answered.
        unidentified_reasons: why it does not commit itself; empty when it does.
    """

    identified: bool
    type: CellType | None
    primary_type: CellType | None
    probability: float
    leaf_probabilities: Mapping[CellType, float]
    members: tuple[MemberOpinion, ...] = ()
    degraded: bool = False
    ood_score: float | None = None
    disagreement: float | None = None
    unidentified_reasons: tuple[UnidentifiedReason, ...] = ()


@dataclass(frozen=True, slots=True)
class ScreenFinding:
    """What the leukemia screen says about a field or a cell: a reason to look, never a diagnosis.

    Attributes:
        flagged: whether a person should look at it, whatever type the classifier gives.
        probability: calibrated probability of the classes that flag, 0 to 1.
        classes: calibrated probability of each class.
    """

    flagged: bool
    probability: float
    classes: Mapping[str, float]


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
        screen: what the leukemia screen says, for white cells where it was asked for.
    """

    classification: Classification | None = None
    counted_elsewhere: bool = False
    screen: ScreenFinding | None = None

    @property
    def flagged(self) -> bool:
        """Whether the leukemia screen flagged it, whatever its type and identified or not."""
        return self.screen is not None and self.screen.flagged

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


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """What in a cell's crop speaks for a type: what the networks went by, not whether that is right.

    Attributes:
        type: the type that it is about; None when unknown to this client.
        heat: float32 [h, w] over the crop, rows from the top: how much each place adds to the log-odds of the type,
            from 0 (nothing, or it speaks against it) to 1 (the place that adds most). All 0 where none speaks for it.
        area: the square that it covers evenly, in pixels of the image that was sent; it may reach beyond the image.
    """

    type: CellType | None
    heat: FloatArray
    area: Box


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedCell:
    """The answer for one located cell that was to be explained."""

    cell_id: str
    classification: Classification
    explanation: Explanation
    provenance: Provenance
