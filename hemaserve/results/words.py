"""The small vocabularies of results and requests. `OTHER` stands for what a newer service may say."""

from enum import StrEnum


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
    SCREEN_FLAGGED = "screen_flagged"
    OTHER = "other"


class UnidentifiedReason(StrEnum):
    """Why the classifier does not commit itself."""

    LOW_PROBABILITY = "low_probability"
    MEMBERS_DISAGREE = "members_disagree"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
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
    SCREEN_FIELD = "screen_field"
    SCREEN_CELL = "screen_cell"
    OTHER = "other"
