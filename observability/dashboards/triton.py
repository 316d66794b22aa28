"""Each network."""

from typing import Final

from observability.panels import RATE, Dashboard, Panel, Query, Row, quantile, rate

_NO_FAILURES: Final = "nothing failed"


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
