"""Every metric of the services, declared. Pure data.

`services.runtime.instruments` makes metrics of what is declared here, and nothing else does; docs/telemetry.md is
written from it, and a test holds services to it. Spans are declared in `services.runtime.span_signals`, metrics that
others bring in `services.runtime.foreign_signals`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc

from hemaserve.cells import FACTS, CellType, Kind, UnidentifiedReason
from hemaserve.differential import ReviewReason
from hemaserve.results import Priority
from hemaserve.smear_count import SmearEnd
from hemaserve.v1 import classifier_pb2, detector_pb2, gateway_pb2
from services.runtime.signal_kinds import (
    EVERY,
    WITH_NETWORKS,
    C,
    D,
    G,
    Label,
    Metric,
    MetricKind,
    Needs,
    Owner,
)
from services.runtime.span_signals import stages_of

# Labels

METHODS: Final[Mapping[Owner, tuple[str, ...]]] = MappingProxyType(
    {
        owner: tuple(f"/{service.full_name}/{method.name}" for method in service.methods)
        for owner, service in {
            G: gateway_pb2.DESCRIPTOR.services_by_name["SmearService"],
            D: detector_pb2.DESCRIPTOR.services_by_name["DetectorService"],
            C: classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"],
        }.items()
    }
)
"""Full names of the methods that each service answers."""

METHOD: Final = Label(
    "method",
    "full name of the RPC's method, e.g. /hemaserve.v1.SmearService/AnalyzeField",
    tuple(method for methods in METHODS.values() for method in methods),
)
_CODE: Final = Label("code", "the canonical status code", tuple(code.name for code in grpc.StatusCode))
STAGE: Final = Label(
    "stage",
    "the stage, see Spans",
    tuple(dict.fromkeys(stage for owner in EVERY for stage in stages_of(owner))),
)
_CAPACITY: Final = Label(
    "capacity",
    "what is handed out: fields, streams (gateway), crops (classifier), or triton_ms/NAME, milliseconds of a network",
    most=64,
)
_PRIORITY: Final = Label("priority", "how urgent the work is", tuple(Priority))
_NOT_ADMITTED: Final = Label(
    "reason",
    "why work did not get its turn",
    ("QUEUE_FULL", "DEADLINE_UNREACHABLE", "DISPLACED", "DEADLINE_EXCEEDED", "CANCELLED"),
)
_MODEL: Final = Label("model", "name of a model in Triton's repository", most=64)
_VERSION: Final = Label("version", "the model's version in Triton's repository", most=64)
_DIGEST: Final = Label(
    "digest", "SHA-256 of the model's file, the first 12 of its hexadecimal digits", most=64
)
_KIND: Final = Label("kind", "what the detector says an object is", tuple(Kind))
_TYPE: Final = Label(
    "type",
    "the cell's primary type",
    tuple(cell_type.value for cell_type in CellType if FACTS[cell_type].parent is None),
)
_DOUBT: Final = Label("reason", "why the classifier does not commit itself", tuple(UnidentifiedReason))
CHANNEL: Final = Label("channel", "the colour channel", ("red", "green", "blue"))
_IMAGE_SIZE: Final = Label(
    "image_size", "pixels of the field: small < 1 MP <= medium < 5 MP <= large", ("small", "medium", "large")
)
_END: Final = Label("end", "why the smear's count ended", tuple(SmearEnd))
_REVIEW: Final = Label("reason", "why the result is to be looked at first", tuple(ReviewReason))
_FIELD_OUTCOME: Final = Label("outcome", "what became of the field", ("analyzed", "failed"))
_CREDENTIALS: Final = Label(
    "reason",
    "what was wrong with the call's credentials, as the audit log gives it",
    (
        *(
            "missing",
            "malformed",
            "plaintext",
            "unknown",
            "wrong_secret",
            "expired",
            "not_yet_valid",
            "revoked",
        ),
        *("forged_signature", "forbidden_algorithm", "wrong_issuer", "wrong_audience", "missing_claim"),
    ),
)
_SOFTWARE: Final = Label("version", "version of the software", most=1)

# Buckets

FIELD_BUCKETS_S: Final = (
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.8,
    1.0,
    1.25,
    1.5,
    2.0,
    2.5,
    3.0,
    4.0,
    6.0,
    10.0,
    30.0,
)
"""The objectives of AnalyzeField are among them: deploy/observability/slos/gateway.yaml."""

CLASSIFY_BUCKETS_S: Final = (
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.6,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""The objectives of Classify are among them: deploy/observability/slos/classifier.yaml."""

LATENCY_BUCKETS_S: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75),
    *(1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 120.0),
)
"""For everything that may take from no time to minutes."""

STAGE_BUCKETS_S: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.35,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)

FRESHNESS_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)

ROWS_BUCKETS: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)

CONFIDENCE_BUCKETS: Final = (
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.925,
    0.95,
    0.975,
    0.99,
    0.999,
    1.0,
)

DISAGREEMENT_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)

BACKGROUND_BUCKETS: Final = (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)

STAIN_BUCKETS: Final = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5)

FOCUS_BUCKETS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100, 200, 500, 1000, 2000)

# Metrics


def _counter(
    name: str,
    meaning: str,
    owners: tuple[Owner, ...],
    *labels: Label,
    unit: str = "",
    needs: Needs = Needs.NOTHING,
) -> Metric:
    return Metric(f"{name}_total", MetricKind.COUNTER, unit, meaning, owners, labels, needs=needs)


def _gauge(
    name: str,
    meaning: str,
    owners: tuple[Owner, ...],
    *labels: Label,
    unit: str = "",
    needs: Needs = Needs.NOTHING,
) -> Metric:
    return Metric(name, MetricKind.GAUGE, unit, meaning, owners, labels, needs=needs)


def _histogram(
    name: str,
    meaning: str,
    owners: tuple[Owner, ...],
    *labels: Label,
    buckets: tuple[float, ...],
    unit: str = "seconds",
) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, unit, meaning, owners, labels, buckets)


BUILD_INFO: Final = _gauge("hemaserve_build_info", "1; the label tells the software.", EVERY, _SOFTWARE)
READY: Final = _gauge("hemaserve_ready", "1 while the service says SERVING, otherwise 0.", EVERY)

RPC_STARTED: Final = _counter("hemaserve_rpc_started", "RPCs begun.", EVERY, METHOD)
RPC_HANDLED: Final = _counter("hemaserve_rpc_handled", "RPCs ended, by status code.", EVERY, METHOD, _CODE)
RPC_IN_PROGRESS: Final = _gauge("hemaserve_rpc_in_progress", "RPCs in progress.", EVERY, METHOD)
RPC_DURATION: Final = _histogram(
    "hemaserve_rpc_duration_seconds",
    "Time from an RPC's start to its end; for streams, the whole stream.",
    EVERY,
    METHOD,
    buckets=LATENCY_BUCKETS_S,
)

STAGE_DURATION: Final = _histogram(
    "hemaserve_stage_duration_seconds",
    "Time that one stage of the work on a request took, whether it came to its end or failed.",
    EVERY,
    STAGE,
    buckets=STAGE_BUCKETS_S,
)
STAGE_FAILED: Final = _counter(
    "hemaserve_stage_failed", "Stages that ended in an error, cancelled ones left out.", EVERY, STAGE
)

ADMISSION_SIZE: Final = _gauge(
    "hemaserve_admission_size", "How much of a capacity there is, in its own units.", EVERY, _CAPACITY
)
ADMISSION_HELD: Final = _gauge(
    "hemaserve_admission_held", "How much of a capacity is held, in its own units.", EVERY, _CAPACITY
)
ADMISSION_WAITING: Final = _gauge(
    "hemaserve_admission_waiting", "Pieces of work that wait for their turn.", EVERY, _CAPACITY, _PRIORITY
)
ADMISSION_WAIT: Final = _histogram(
    "hemaserve_admission_wait_seconds",
    "Queue time: how long work waited for its turn, of the work that got it.",
    EVERY,
    *(_CAPACITY, _PRIORITY),
    buckets=LATENCY_BUCKETS_S,
)
ADMISSION_REFUSED: Final = _counter(
    "hemaserve_admission_refused",
    "Pieces of work that did not get their turn, by reason.",
    EVERY,
    *(_CAPACITY, _PRIORITY, _NOT_ADMITTED),
)

DECODERS_DIED: Final = _counter(
    "hemaserve_decoders_died",
    "Processes that an image file ended, or that were ended while they decoded. Services in one process share them.",
    EVERY,
)

TLS_EXPIRY: Final = _gauge(
    "hemaserve_tls_certificate_expiry_timestamp_seconds",
    "When the service's certificate ends, in seconds since 1970.",
    EVERY,
    unit="seconds",
    needs=Needs.TLS,
)
TLS_RELOAD_FAILURES: Final = _counter(
    "hemaserve_tls_reload_failures",
    "Changes of certificate files that could not be used.",
    EVERY,
    needs=Needs.TLS,
)

ACCESS_REFUSED: Final = _counter(
    "hemaserve_access_refused",
    "Calls refused at the gateway's door, by the reason that the audit log gives.",
    (G,),
    _CREDENTIALS,
    needs=Needs.ACCESS,
)
ACCESS_THROTTLED: Final = _counter(
    "hemaserve_access_throttled_seconds",
    "Time that messages of streams waited for their client's quota.",
    (G,),
    unit="seconds",
    needs=Needs.ACCESS,
)
ACCESS_FILE_USABLE: Final = _gauge(
    "hemaserve_access_file_usable",
    "1 while the access file can be used; 0 while what it said before still holds.",
    (G,),
    needs=Needs.ACCESS,
)
AUDIT_LOST: Final = _counter(
    "hemaserve_audit_records_lost",
    "Calls that the audit log could not take down.",
    (G,),
    needs=Needs.ACCESS,
)

FIELD_DURATION: Final = _histogram(
    "hemaserve_field_duration_seconds",
    "Time that AnalyzeField took, of the calls that it answered, from the request's arrival to its answer.",
    (G,),
    _IMAGE_SIZE,
    buckets=FIELD_BUCKETS_S,
)
SMEAR_FIELDS: Final = _counter(
    "hemaserve_smear_fields", "Fields of smears that are done.", (G,), _FIELD_OUTCOME
)
SMEARS: Final = _counter("hemaserve_smears", "Smears that are done.", (G,), _END)
SMEAR_REVIEWS: Final = _counter(
    "hemaserve_smear_reviews",
    "Smears flagged to be looked at first; one may be flagged for several reasons.",
    (G,),
    _REVIEW,
)
SMEAR_FRESHNESS: Final = _histogram(
    "hemaserve_smear_freshness_seconds",
    "Time from the arrival of a smear's last field to its result.",
    (G,),
    _PRIORITY,
    buckets=FRESHNESS_BUCKETS_S,
)

TRITON_DURATION: Final = _histogram(
    "hemaserve_triton_request_duration_seconds",
    "Time that Triton took for a request, as we see it, whether it answered or failed; without our own queue.",
    WITH_NETWORKS,
    _MODEL,
    buckets=STAGE_BUCKETS_S,
)
TRITON_FAILED: Final = _counter(
    "hemaserve_triton_requests_failed",
    "Requests that Triton did not answer, by the code of the error that this became.",
    WITH_NETWORKS,
    *(_MODEL, _CODE),
)
TRITON_ROWS: Final = _histogram(
    "hemaserve_triton_request_rows",
    "Batch size: pieces or crops in a request to Triton.",
    WITH_NETWORKS,
    _MODEL,
    buckets=ROWS_BUCKETS,
    unit="rows",
)
TRITON_IN_PROGRESS: Final = _gauge(
    "hemaserve_triton_requests_in_progress", "Requests that are with Triton.", WITH_NETWORKS, _MODEL
)
MODEL_INFO: Final = _gauge(
    "hemaserve_model_info",
    "1 for each model that requests can name; the labels tell its version.",
    WITH_NETWORKS,
    *(_MODEL, _VERSION, _DIGEST),
)

CELLS_DETECTED: Final = _counter(
    "hemaserve_cells_detected", "Objects that the detector found, by kind.", (D,), _KIND
)
FIELD_FOCUS: Final = _histogram(
    "hemaserve_field_focus",
    "Focus of a field: variance of the Laplacian of its green channel, in squared levels of 255; less is more blurred.",
    (D,),
    buckets=FOCUS_BUCKETS,
    unit="levels squared",
)
FIELD_BACKGROUND: Final = _histogram(
    "hemaserve_field_background_ratio",
    "Brightness of a field's empty background, 0 to 1.",
    (D,),
    CHANNEL,
    buckets=BACKGROUND_BUCKETS,
    unit="ratio",
)
FIELD_STAIN: Final = _histogram(
    "hemaserve_field_stain_density",
    "Stain of a field: optical density of its darkest pixels, the nuclei, above the background's.",
    (D,),
    CHANNEL,
    buckets=STAIN_BUCKETS,
    unit="optical density",
)

CLASSIFY_DURATION: Final = _histogram(
    "hemaserve_classify_duration_seconds",
    "Time that one request of a Classify stream took, of those that were answered, from its reading to its answer.",
    (C,),
    buckets=CLASSIFY_BUCKETS_S,
)
CELLS_CLASSIFIED: Final = _counter(
    "hemaserve_cells_classified", "Cells that a model was asked about and answered for.", (C,), _MODEL
)
CELLS_IDENTIFIED: Final = _counter(
    "hemaserve_cells_identified", "Those of them that were identified, by type.", (C,), *(_MODEL, _TYPE)
)
CELLS_UNIDENTIFIED: Final = _counter(
    "hemaserve_cells_unidentified", "Those of them that were not.", (C,), _MODEL
)
CELLS_DOUBTED: Final = _counter(
    "hemaserve_cells_doubted",
    "Unidentified cells by the reason; a cell may have several.",
    (C,),
    *(_MODEL, _DOUBT),
)
CELL_CONFIDENCE: Final = _histogram(
    "hemaserve_cell_confidence_ratio",
    "Calibrated probability of a cell's primary type, 0 to 1.",
    (C,),
    _MODEL,
    buckets=CONFIDENCE_BUCKETS,
    unit="ratio",
)
DISAGREEMENT: Final = _histogram(
    "hemaserve_ensemble_disagreement_ratio",
    "How far an ensemble's members are apart about a cell, 0 to 1.",
    (C,),
    _MODEL,
    buckets=DISAGREEMENT_BUCKETS,
    unit="ratio",
)
DEGRADED: Final = _counter(
    "hemaserve_answers_degraded", "Answers of ensembles without all their members.", (C,), _MODEL
)

_ASKED_FOR: Final = Label("model", "name of the model that requests ask for, as in the rollout file", most=16)
_GIVEN: Final = Label("version", "name of the version that was given", most=32)
_ROLE: Final = Label(
    "role",
    "as what it was given: other for one in the place of a version that is missing, or that a smear began with",
    ("stable", "candidate", "other"),
)
_SHADOWED: Final = Label("model", "name of the version that answers, and whose shadow is asked too", most=16)
_AGREEMENT: Final = Label(
    "agreement",
    "how what both say of a cell compares",
    ("same_type", "finer_type_differs", "type_differs", "one_unidentified", "both_unidentified"),
)
_SAID: Final = (*_TYPE.values, "unidentified")
_DROPPED: Final = Label(
    "reason", "why cells were not compared", ("busy", "failed", "degraded", "other_crops")
)

ROLLOUT_FILE_USABLE: Final = _gauge(
    "hemaserve_rollout_file_usable",
    "1 while the rollout file can be used, or there is none; 0 while what it said before still holds.",
    (G,),
)
ROLLOUT_ASSIGNED: Final = _counter(
    "hemaserve_rollout_assigned",
    "Smears, and calls that belong to none, that ask for a model of the rollout file, by the version given to them.",
    (G,),
    *(_ASKED_FOR, _GIVEN, _ROLE),
)
SHADOW_COMPARED: Final = _counter(
    "hemaserve_shadow_cells_compared",
    "Cells that a shadow version was asked about too, by how far both agree.",
    (C,),
    *(_SHADOWED, _AGREEMENT),
)
SHADOW_DISAGREED: Final = _counter(
    "hemaserve_shadow_cells_disagreed",
    "Those of them about whose primary type both disagree, by what each said.",
    (C,),
    *(
        _SHADOWED,
        Label("said", "what the version that answers said: a primary type, or unidentified", _SAID),
        Label("shadow_said", "what its shadow said", _SAID),
    ),
)
SHADOW_DROPPED: Final = _counter(
    "hemaserve_shadow_cells_dropped",
    "Cells that were to be compared and were not, by reason.",
    (C,),
    *(_SHADOWED, _DROPPED),
)
SHADOW_CELL_TIME: Final = _histogram(
    "hemaserve_shadow_cell_seconds",
    "Time that an answer took for each of its cells, of those that are compared, of both versions.",
    (C,),
    *(_SHADOWED, Label("by", "who answered", ("model", "shadow"))),
    buckets=(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

METRICS: Final = (
    *(
        BUILD_INFO,
        READY,
        RPC_STARTED,
        RPC_HANDLED,
        RPC_IN_PROGRESS,
        RPC_DURATION,
        STAGE_DURATION,
        STAGE_FAILED,
    ),
    *(ADMISSION_SIZE, ADMISSION_HELD, ADMISSION_WAITING, ADMISSION_WAIT, ADMISSION_REFUSED, DECODERS_DIED),
    *(TLS_EXPIRY, TLS_RELOAD_FAILURES, ACCESS_REFUSED, ACCESS_THROTTLED, ACCESS_FILE_USABLE, AUDIT_LOST),
    *(FIELD_DURATION, SMEAR_FIELDS, SMEARS, SMEAR_REVIEWS, SMEAR_FRESHNESS),
    *(TRITON_DURATION, TRITON_FAILED, TRITON_ROWS, TRITON_IN_PROGRESS, MODEL_INFO),
    *(CELLS_DETECTED, FIELD_FOCUS, FIELD_BACKGROUND, FIELD_STAIN),
    *(CLASSIFY_DURATION, CELLS_CLASSIFIED, CELLS_IDENTIFIED, CELLS_UNIDENTIFIED, CELLS_DOUBTED),
    *(CELL_CONFIDENCE, DISAGREEMENT, DEGRADED),
    *(ROLLOUT_FILE_USABLE, ROLLOUT_ASSIGNED),
    *(SHADOW_COMPARED, SHADOW_DISAGREED, SHADOW_DROPPED, SHADOW_CELL_TIME),
)
"""Every metric of ours."""
