"""What the client hands back: frozen, typed, free of protobuf.

An enum value that this version does not know is never an error: a type becomes None and its cell unidentified, a
kind becomes None, a reason becomes `OTHER`. `as_json` turns any of these into plain JSON values.
"""

from hemaserve.crops import CropEncoding
from hemaserve.results.counts import Differential, FieldResult, SmearResult, SmearScreen, TypeShare
from hemaserve.results.findings import (
    Cell,
    Classification,
    Crop,
    Detection,
    DetectionResult,
    ExplainedCell,
    Explanation,
    Failure,
    MemberOpinion,
    ModelSource,
    NamedCell,
    Provenance,
    ScreenFinding,
    SiteProfileSource,
    Violation,
)
from hemaserve.results.models import Health, Model, Rollout, SiteProfile
from hemaserve.results.plain import as_json
from hemaserve.results.words import (
    ModelTask,
    Priority,
    ResultStatus,
    ReviewReason,
    SmearEnd,
    UnidentifiedReason,
)

__all__ = [
    "Cell",
    "Classification",
    "Crop",
    "CropEncoding",
    "Detection",
    "DetectionResult",
    "Differential",
    "ExplainedCell",
    "Explanation",
    "Failure",
    "FieldResult",
    "Health",
    "MemberOpinion",
    "Model",
    "ModelSource",
    "ModelTask",
    "NamedCell",
    "Priority",
    "Provenance",
    "ResultStatus",
    "ReviewReason",
    "Rollout",
    "ScreenFinding",
    "SiteProfile",
    "SiteProfileSource",
    "SmearEnd",
    "SmearResult",
    "SmearScreen",
    "TypeShare",
    "UnidentifiedReason",
    "Violation",
    "as_json",
]
