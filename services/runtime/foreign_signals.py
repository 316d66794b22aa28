"""Metrics that are not ours: of the process and of Python as their library has them, and those of Triton we use."""

from typing import Final

from services.runtime.signal_kinds import EVERY, ForeignMetric, MetricKind, Owner

_NV_LABELS: Final = ("model", "version")
_NV: Final = (Owner.TRITON,)
_N, _A = MetricKind.COUNTER, MetricKind.GAUGE

FOREIGN_METRICS: Final = (
    ForeignMetric("process_virtual_memory_bytes", _A, "Virtual memory of the process.", EVERY),
    ForeignMetric("process_resident_memory_bytes", _A, "Memory of the process.", EVERY),
    ForeignMetric("process_start_time_seconds", _A, "When the process started, since 1970.", EVERY),
    ForeignMetric("process_cpu_seconds_total", _N, "Processor time of the process.", EVERY),
    ForeignMetric("process_open_fds", _A, "Open file descriptors.", EVERY),
    ForeignMetric("process_max_fds", _A, "Most file descriptors.", EVERY),
    ForeignMetric(
        "python_info",
        _A,
        "1; the labels tell Python's version.",
        EVERY,
        ("implementation", "major", "minor", "patchlevel", "version"),
    ),
    ForeignMetric(
        "python_gc_objects_collected_total", _N, "Objects that were collected.", EVERY, ("generation",)
    ),
    ForeignMetric(
        "python_gc_objects_uncollectable_total", _N, "Objects that could not be.", EVERY, ("generation",)
    ),
    ForeignMetric("python_gc_collections_total", _N, "Collections of garbage.", EVERY, ("generation",)),
    ForeignMetric("nv_inference_request_success", _N, "Requests that were answered.", _NV, _NV_LABELS),
    ForeignMetric(
        "nv_inference_request_failure", _N, "Requests that were not.", _NV, (*_NV_LABELS, "reason")
    ),
    ForeignMetric("nv_inference_count", _N, "Rows that networks answered for.", _NV, _NV_LABELS),
    ForeignMetric("nv_inference_exec_count", _N, "Batches that networks ran.", _NV, _NV_LABELS),
    ForeignMetric(
        "nv_inference_request_duration_us", _N, "Time of requests, in microseconds.", _NV, _NV_LABELS
    ),
    ForeignMetric("nv_inference_queue_duration_us", _N, "Of it: time in Triton's queues.", _NV, _NV_LABELS),
    ForeignMetric(
        "nv_inference_compute_input_duration_us", _N, "Of it: time to take inputs in.", _NV, _NV_LABELS
    ),
    ForeignMetric(
        "nv_inference_compute_infer_duration_us", _N, "Of it: time in the network.", _NV, _NV_LABELS
    ),
    ForeignMetric(
        "nv_inference_compute_output_duration_us", _N, "Of it: time to give outputs.", _NV, _NV_LABELS
    ),
    ForeignMetric(
        "nv_inference_pending_request_count", _A, "Requests that wait in Triton's queues.", _NV, _NV_LABELS
    ),
    ForeignMetric("nv_cpu_utilization", _A, "Share of the machine's processors in use, 0 to 1.", _NV),
    ForeignMetric("nv_cpu_memory_used_bytes", _A, "Memory of the machine in use.", _NV),
)
"""Those that are not ours. Of Triton's, those that our rules, dashboards and scalers use."""
