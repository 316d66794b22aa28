"""What the networks say, and whether that drifts."""

from typing import Final

from observability.drift import DISTANCE, LIMIT, SHARE, USUAL
from observability.panels import Dashboard, Panel, Query, Row, mean, quantile, rate

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
