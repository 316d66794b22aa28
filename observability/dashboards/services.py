"""Gateway, detector and classifier."""

from typing import Final

from observability.panels import Dashboard, Panel, Query, Row, mean, quantile, rate

_NO_REFUSALS: Final = "nothing was refused"
_NO_FAILURES: Final = "nothing failed"

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
