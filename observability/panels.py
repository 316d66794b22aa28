"""What the dashboards show, as data: Grafana's files, pictures, and tests are made of it."""

from dataclasses import dataclass
from typing import Final, Literal

from observability.burn import BUDGET_LEFT, ERRORS, OBJECTIVE
from observability.drift import DISTANCE, LIMIT, SHARE, USUAL
from observability.windows import BURNS, duration

RATE: Final = "$__rate_interval"
"""Grafana's name for a window that holds enough scrapes."""

Kind = Literal["lines", "numbers", "bars"]
"""`lines` over time, `numbers` of now, or `bars` of now."""

Unit = Literal["percentunit", "s", "reqps", "short", "bytes", "ops", "dateTimeFromNow"]
"""Grafana's names."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called: Grafana's template of labels."""

    expression: str
    legend: str

    def over(self, window: str) -> str:
        """The query with a window of its own, for others than Grafana."""
        return self.expression.replace(RATE, window)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        may_be_empty: why there may be nothing to show although all is well; empty where there must be something.
    """

    title: str
    meaning: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    may_be_empty: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, with a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `name` is its file's, and part of its address."""

    name: str
    title: str
    meaning: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels."""
        return tuple(panel for row in self.rows for panel in row.panels)


def quantile(share: float, histogram: str, by: str = "", select: str = "") -> str:
    """A quantile of a histogram over time, in PromQL."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({kept}) (rate({histogram}_bucket{select}[{RATE}])))"


def rate(counter: str, by: str, select: str = "") -> str:
    """How often a second, in PromQL."""
    return f"sum by ({by}) (rate({counter}{select}[{RATE}]))"


def mean(histogram: str, by: str) -> str:
    """The mean of a histogram's values, in PromQL; none where there were none."""
    total, count = (f"sum by ({by}) (rate({histogram}_{end}[{RATE}]))" for end in ("sum", "count"))
    return f"{total} / ({count} > 0)"


_FAST: Final = BURNS[0]
_ERRORS_FAST: Final = f"{ERRORS}_rate{duration(_FAST.long_s)}"
_BURN: Final = f"{_ERRORS_FAST} / on (service, slo) (1 - {OBJECTIVE})"
_NO_REFUSALS: Final = "nothing was refused"
_NO_FAILURES: Final = "nothing failed"

OVERVIEW: Final = Dashboard(
    "overview",
    "HemaServe: overview",
    "Are the promises kept, and if not, which one is broken? Begin here.",
    (
        Row(
            "Promises",
            (
                Panel(
                    "Alerts that fire",
                    "Each has a page in docs/runbooks.",
                    "short",
                    (
                        Query(
                            'count by (alertname, severity, slo) (ALERTS{alertstate="firing"})',
                            "{{severity}} {{alertname}} {{slo}}",
                        ),
                    ),
                    "numbers",
                    may_be_empty="all is well",
                ),
                Panel(
                    "Error budget left",
                    "Of the budget of the last 30 days; below 0 the promise is broken.",
                    "percentunit",
                    (Query(BUDGET_LEFT, "{{service}} {{slo}}"),),
                    "bars",
                ),
                Panel(
                    "Burn rate over an hour",
                    f"1 spends the budget exactly within 30 days; {_FAST.factor:g} wakes somebody.",
                    "short",
                    (Query(_BURN, "{{service}} {{slo}}"), Query(f"vector({_FAST.factor:g})", "page")),
                ),
            ),
        ),
        Row(
            "What callers see",
            (
                Panel(
                    "Calls",
                    "By method, of the gateway.",
                    "reqps",
                    (
                        Query(
                            rate(
                                "hemaserve_rpc_handled_total",
                                "method",
                                '{method=~"/hemaserve.v1.SmearService/.+"}',
                            ),
                            "{{method}}",
                        ),
                    ),
                ),
                Panel(
                    "Calls that ended in an error",
                    "By status code, of the gateway.",
                    "reqps",
                    (
                        Query(
                            rate(
                                "hemaserve_rpc_handled_total",
                                "code",
                                '{method=~"/hemaserve.v1.SmearService/.+", code!="OK"}',
                            ),
                            "{{code}}",
                        ),
                    ),
                    may_be_empty=_NO_FAILURES,
                ),
                Panel(
                    "AnalyzeField, 95th and 99th percentile",
                    "By the field's size: small < 1 MP <= medium < 5 MP <= large.",
                    "s",
                    (
                        Query(
                            quantile(0.95, "hemaserve_field_duration_seconds", "image_size"),
                            "{{image_size}} p95",
                        ),
                        Query(
                            quantile(0.99, "hemaserve_field_duration_seconds", "image_size"),
                            "{{image_size}} p99",
                        ),
                    ),
                ),
                Panel(
                    "Smears: from the last field to the result",
                    "95th percentile, by priority.",
                    "s",
                    (Query(quantile(0.95, "hemaserve_smear_freshness_seconds", "priority"), "{{priority}}"),),
                ),
                Panel(
                    "Fields and smears",
                    "Done, in a second.",
                    "ops",
                    (
                        Query(
                            "sum(rate(hemaserve_field_duration_seconds_count[$__rate_interval]))",
                            "single fields",
                        ),
                        Query(
                            rate("hemaserve_smear_fields_total", "outcome"), "fields of smears, {{outcome}}"
                        ),
                        Query(rate("hemaserve_smears_total", "end"), "smears, {{end}}"),
                    ),
                ),
                Panel(
                    "Replicas that say SERVING",
                    "By service.",
                    "short",
                    (Query("sum by (job) (hemaserve_ready)", "{{job}}"),),
                    "numbers",
                ),
            ),
        ),
    ),
)

SERVICES: Final = Dashboard(
    "services",
    "HemaServe: services",
    "Rate, errors, duration and saturation of gateway, detector and classifier. Where does the time go?",
    (
        Row(
            "Calls",
            (
                Panel(
                    "Rate",
                    "Calls by service.",
                    "reqps",
                    (Query(rate("hemaserve_rpc_handled_total", "job"), "{{job}}"),),
                ),
                Panel(
                    "Errors",
                    "Calls that did not end with OK, by service and code.",
                    "reqps",
                    (
                        Query(
                            rate("hemaserve_rpc_handled_total", "job, code", '{code!="OK"}'),
                            "{{job}} {{code}}",
                        ),
                    ),
                    may_be_empty=_NO_FAILURES,
                ),
                Panel(
                    "Duration, 95th percentile",
                    "By method; of streams, the whole stream.",
                    "s",
                    (Query(quantile(0.95, "hemaserve_rpc_duration_seconds", "method"), "{{method}}"),),
                ),
                Panel(
                    "In progress",
                    "Calls at this moment, by method.",
                    "short",
                    (Query("sum by (method) (hemaserve_rpc_in_progress)", "{{method}}"),),
                ),
            ),
        ),
        Row(
            "Stages",
            (
                Panel(
                    "Time by stage",
                    "Mean seconds of each stage: the slow one is where a request waits. A trace has the same names.",
                    "s",
                    (Query(mean("hemaserve_stage_duration_seconds", "job, stage"), "{{job}} {{stage}}"),),
                ),
                Panel(
                    "Stages, 95th percentile",
                    "By service and stage.",
                    "s",
                    (
                        Query(
                            quantile(0.95, "hemaserve_stage_duration_seconds", "job, stage"),
                            "{{job}} {{stage}}",
                        ),
                    ),
                ),
                Panel(
                    "Stages that failed",
                    "By service and stage.",
                    "ops",
                    (Query(rate("hemaserve_stage_failed_total", "job, stage"), "{{job}} {{stage}}"),),
                    may_be_empty=_NO_FAILURES,
                ),
            ),
        ),
        Row(
            "Saturation",
            (
                Panel(
                    "Capacity held",
                    "Share of each capacity in use; near 1, others wait.",
                    "percentunit",
                    (
                        Query(
                            "sum by (job, capacity) (hemaserve_admission_held) "
                            "/ sum by (job, capacity) (hemaserve_admission_size)",
                            "{{job}} {{capacity}}",
                        ),
                    ),
                ),
                Panel(
                    "Waiting",
                    "Pieces of work that wait for their turn, by priority.",
                    "short",
                    (
                        Query(
                            "sum by (job, capacity, priority) (hemaserve_admission_waiting)",
                            "{{job}} {{capacity}} {{priority}}",
                        ),
                    ),
                ),
                Panel(
                    "Queue time, 95th percentile",
                    "How long work waited for its turn, by priority.",
                    "s",
                    (
                        Query(
                            quantile(0.95, "hemaserve_admission_wait_seconds", "job, priority"),
                            "{{job}} {{priority}}",
                        ),
                    ),
                ),
                Panel(
                    "Refused",
                    "Work that did not get its turn, by reason.",
                    "ops",
                    (Query(rate("hemaserve_admission_refused_total", "job, reason"), "{{job}} {{reason}}"),),
                    may_be_empty=_NO_REFUSALS,
                ),
                Panel(
                    "Processors",
                    "Processor seconds a second, by service.",
                    "short",
                    (Query(rate("process_cpu_seconds_total", "job", '{job!=""}'), "{{job}}"),),
                ),
                Panel(
                    "Memory",
                    "Resident, by replica.",
                    "bytes",
                    (Query("process_resident_memory_bytes", "{{job}} {{instance}}"),),
                ),
            ),
        ),
        Row(
            "Doors",
            (
                Panel(
                    "Calls refused for their credentials",
                    "By reason.",
                    "ops",
                    (Query(rate("hemaserve_access_refused_total", "reason"), "{{reason}}"),),
                    may_be_empty="there is no access file, or nobody was refused",
                ),
                Panel(
                    "Certificates end",
                    "By service.",
                    "dateTimeFromNow",
                    (
                        Query(
                            "hemaserve_tls_certificate_expiry_timestamp_seconds * 1000",
                            "{{job}} {{instance}}",
                        ),
                    ),
                    "numbers",
                    may_be_empty="there is no TLS",
                ),
                Panel(
                    "Decoders that died",
                    "In the last hour: image files that ended the process that decoded them.",
                    "short",
                    (Query("sum by (job) (increase(hemaserve_decoders_died_total[1h]))", "{{job}}"),),
                    "numbers",
                ),
            ),
        ),
    ),
)


def _triton(numerator: str, denominator: str, scale: str = "") -> str:
    above, below = (f"sum by (model) (rate({one}[{RATE}]))" for one in (numerator, denominator))
    return f"{above} / ({below} > 0){scale}"


_SECONDS: Final = " / 1e6"

TRITON: Final = Dashboard(
    "triton",
    "HemaServe: Triton",
    "Each network: how much it does, how long it takes, what waits before it.",
    (
        Row(
            "Work",
            (
                Panel(
                    "Rows",
                    "Pieces and crops answered for in a second, by network.",
                    "ops",
                    (Query(rate("nv_inference_count", "model"), "{{model}}"),),
                ),
                Panel(
                    "Batch size",
                    "Rows that a network runs at once, on average.",
                    "short",
                    (Query(_triton("nv_inference_count", "nv_inference_exec_count"), "{{model}}"),),
                ),
                Panel(
                    "Requests that failed",
                    "By network and reason, as Triton counts them.",
                    "ops",
                    (
                        Query(
                            f"sum by (model, reason) (rate(nv_inference_request_failure[{RATE}]))",
                            "{{model}} {{reason}}",
                        ),
                    ),
                    may_be_empty=_NO_FAILURES,
                ),
            ),
        ),
        Row(
            "Time of a request",
            (
                Panel(
                    "In the network",
                    "Seconds a request, mean.",
                    "s",
                    (
                        Query(
                            _triton(
                                "nv_inference_compute_infer_duration_us",
                                "nv_inference_request_success",
                                _SECONDS,
                            ),
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "In Triton's queue",
                    "Seconds a request, mean: grows before anything fails, and is what replicas are added by.",
                    "s",
                    (
                        Query(
                            _triton(
                                "nv_inference_queue_duration_us", "nv_inference_request_success", _SECONDS
                            ),
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "As we see it, 95th percentile",
                    "From our request to Triton's answer, without our own queue.",
                    "s",
                    (
                        Query(
                            quantile(0.95, "hemaserve_triton_request_duration_seconds", "model"), "{{model}}"
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Machine",
            (
                Panel(
                    "Requests with Triton",
                    "At this moment, by network.",
                    "short",
                    (Query("sum by (model) (hemaserve_triton_requests_in_progress)", "{{model}}"),),
                ),
                Panel(
                    "Processors in use",
                    "Of Triton's machine.",
                    "percentunit",
                    (Query("nv_cpu_utilization", "{{instance}}"),),
                ),
                Panel(
                    "Memory in use",
                    "Of Triton's machine.",
                    "bytes",
                    (Query("nv_cpu_memory_used_bytes", "{{instance}}"),),
                ),
            ),
        ),
    ),
)

MODELS: Final = Dashboard(
    "models",
    "HemaServe: models and drift",
    "What the networks say, how sure they are, and whether that is as it used to be.",
    (
        Row(
            "Drift from the baseline",
            (
                Panel(
                    "Distance",
                    "How far each feature is from deploy/observability/baseline.json; see the limits beside it.",
                    "short",
                    (Query(DISTANCE, "{{feature}}"),),
                ),
                Panel(
                    "Limits",
                    "What makes an alert.",
                    "short",
                    (Query(LIMIT, "{{feature}} {{severity}}"),),
                    "numbers",
                ),
                Panel(
                    "Types now and usually",
                    "Shares of identified cells.",
                    "percentunit",
                    (
                        Query(f'{SHARE}{{feature="type-mix"}}', "{{bin}}, now"),
                        Query(f'{USUAL}{{feature="type-mix"}}', "{{bin}}, usually"),
                    ),
                    "bars",
                ),
            ),
        ),
        Row(
            "Cells",
            (
                Panel(
                    "Identified cells",
                    "By type, in a second.",
                    "ops",
                    (Query(rate("hemaserve_cells_identified_total", "type"), "{{type}}"),),
                ),
                Panel(
                    "Unidentified",
                    "Share of the cells that a model was asked about.",
                    "percentunit",
                    (
                        Query(
                            f"{rate('hemaserve_cells_unidentified_total', 'model')} "
                            f"/ ({rate('hemaserve_cells_classified_total', 'model')} > 0)",
                            "{{model}}",
                        ),
                    ),
                ),
                Panel(
                    "Why unidentified",
                    "Cells in a second, by reason; one may have several.",
                    "ops",
                    (Query(rate("hemaserve_cells_doubted_total", "reason"), "{{reason}}"),),
                    may_be_empty="all cells were identified",
                ),
                Panel(
                    "Confidence",
                    "Mean and tenth percentile of the calibrated probability of a cell's type.",
                    "percentunit",
                    (
                        Query(mean("hemaserve_cell_confidence_ratio", "model"), "{{model}} mean"),
                        Query(quantile(0.1, "hemaserve_cell_confidence_ratio", "model"), "{{model}} p10"),
                    ),
                ),
                Panel(
                    "Disagreement of the ensemble",
                    "Mean and 90th percentile.",
                    "percentunit",
                    (
                        Query(mean("hemaserve_ensemble_disagreement_ratio", "model"), "{{model}} mean"),
                        Query(
                            quantile(0.9, "hemaserve_ensemble_disagreement_ratio", "model"), "{{model}} p90"
                        ),
                    ),
                    may_be_empty="no ensemble is loaded",
                ),
                Panel(
                    "Degraded answers",
                    "Of ensembles without all their members.",
                    "ops",
                    (Query(rate("hemaserve_answers_degraded_total", "model"), "{{model}}"),),
                    may_be_empty="all ensembles were complete",
                ),
            ),
        ),
        Row(
            "Fields",
            (
                Panel(
                    "Stain",
                    "Median optical density of the darkest pixels, by channel.",
                    "short",
                    (Query(quantile(0.5, "hemaserve_field_stain_density", "channel"), "{{channel}}"),),
                ),
                Panel(
                    "Background",
                    "Median brightness of the empty background, by channel.",
                    "percentunit",
                    (Query(quantile(0.5, "hemaserve_field_background_ratio", "channel"), "{{channel}}"),),
                ),
                Panel(
                    "Focus",
                    "Tenth percentile and median; less is more blurred.",
                    "short",
                    (
                        Query(quantile(0.1, "hemaserve_field_focus"), "p10"),
                        Query(quantile(0.5, "hemaserve_field_focus"), "median"),
                    ),
                ),
                Panel(
                    "Found by the detector",
                    "Objects in a second, by kind.",
                    "ops",
                    (Query(rate("hemaserve_cells_detected_total", "kind"), "{{kind}}"),),
                ),
                Panel(
                    "Models",
                    "Those that requests can name, by version.",
                    "short",
                    (
                        Query(
                            "sum by (model, version, digest) (hemaserve_model_info)",
                            "{{model}} {{version}} {{digest}}",
                        ),
                    ),
                    "numbers",
                ),
                Panel(
                    "Smears flagged for review",
                    "In the last hour, by reason.",
                    "short",
                    (Query("sum by (reason) (increase(hemaserve_smear_reviews_total[1h]))", "{{reason}}"),),
                    may_be_empty="no smear was flagged",
                ),
            ),
        ),
    ),
)

DASHBOARDS: Final = (OVERVIEW, SERVICES, TRITON, MODELS)
