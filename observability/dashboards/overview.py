"""Whether promises are kept, at one look."""

from typing import Final

from observability.burn import BUDGET_LEFT, ERRORS, OBJECTIVE
from observability.panels import Dashboard, Panel, Query, Row, quantile, rate
from observability.windows import BURNS, duration

_FAST: Final = BURNS[0]
_ERRORS_FAST: Final = f"{ERRORS}_rate{duration(_FAST.long_s)}"
_BURN: Final = f"{_ERRORS_FAST} / on (service, slo) (1 - {OBJECTIVE})"
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
