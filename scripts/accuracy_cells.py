"""How single cells are named: the sections of docs/accuracy.md on PBC."""

from collections.abc import Iterable, Iterator

import accuracy_texts as texts
from accuracy_measurements import Document, Results
from accuracy_words import NOT_MEASURED, marked, number, percent, table, type_title

from hemaserve.evaluation.abstention import SHARES


def _cells_of(results: Results) -> Iterator[tuple[str, Document]]:
    """Networks that were measured on PBC, with the default one marked, and their figures."""
    for name in results.classifiers:
        if (document := results.get(f"cells-{name}")) is not None:
            yield marked(name, results.default_classifier), document


def cells_section(results: Results) -> str:
    """Each network, its calibration, and types and leaves one by one."""
    measured = list(_cells_of(results))
    rows = [
        [
            name,
            str(document["n"]),
            percent(document["accuracy"], document["accuracy_ci95"]),
            percent(document["macro_f1"], document["macro_f1_ci95"]),
            f"{document['ece']:.3f}",
            percent(document["unidentified"] / document["n"]),
            percent(document["accuracy_identified"], document["accuracy_identified_ci95"]),
            str(document["fallbacks"]),
        ]
        for name, document in measured
    ]
    header = [
        *("Network", "n", "Accuracy", "Macro F1", "ECE", "Unidentified", "Accuracy of the identified"),
        "Fallbacks",
    ]
    parts = [
        "## Naming cells\n\nPBC, eight types, each image sent the way of a whole field (found by the detector, cut, "
        "named):\n\n" + table(header, rows),
        texts.CALIBRATION + _calibration(measured),
    ]
    if (default := results.get(f"cells-{results.default_classifier}")) is not None:
        parts.append(_per_type(default, f"Each type, by {results.default_classifier}"))
    parts.append(texts.LEAVES + _leaves(measured))
    if default is not None and (leaves := default.get("leaves")) is not None:
        parts.append(_per_type(leaves, f"Each leaf, by {results.default_classifier}"))
    return "\n".join(parts)


def _calibration(measured: Iterable[tuple[str, Document]]) -> str:
    rows = []
    for name, document in measured:
        figures = document.get("calibration")
        if figures is None:
            rows.append([name, *[NOT_MEASURED] * 4])
            continue
        rows.append(
            [
                name,
                number(figures["nll"]),
                number(figures["nll_ratio"], figures["nll_ratio_ci95"]),
                number(figures["brier"]),
                number(figures["brier_ratio"], figures["brier_ratio_ci95"]),
            ]
        )
    return table(
        ["Network", "Negative log-likelihood", "To the baseline", "Brier score", "To the baseline"], rows
    )


def _leaves(measured: Iterable[tuple[str, Document]]) -> str:
    rows = []
    for name, document in measured:
        leaves = document.get("leaves")
        if leaves is None:
            rows.append([name, *[NOT_MEASURED] * 4])
            continue
        band = percent(leaves["band_segmented_accuracy"], leaves["band_segmented_accuracy_ci95"])
        rows.append(
            [
                name,
                str(leaves["n"]),
                percent(leaves["accuracy"], leaves["accuracy_ci95"]),
                percent(leaves["macro_f1"], leaves["macro_f1_ci95"]),
                f"{band} of {leaves['band_segmented']}",
            ]
        )
    return table(["Network", "n", "Accuracy", "Macro F1", "Band from segmented"], rows)


def _per_type(document: Document, title: str) -> str:
    rows = [
        [
            type_title(cell_type),
            str(row["support"]),
            *(percent(row[key], row[f"{key}_ci95"]) for key in ("precision", "recall", "f1", "specificity")),
        ]
        for cell_type, row in document["per_type"].items()
    ]
    answers = list(next(iter(document["confusion"].values())))
    confusion = [
        [type_title(truth), *(str(row[answer]) for answer in answers)]
        for truth, row in document["confusion"].items()
    ]
    return (
        f"{title}:\n\n"
        + table(["Type", "n", "Precision", "Recall", "F1", "Specificity"], rows)
        + "\nWhat was taken for what (rows: the label; columns: the best guess):\n\n"
        + table(["", *map(type_title, answers)], confusion)
    )


def abstention_table(results: Results) -> str:
    """Accuracy of each network on what is left."""
    rows = []
    for name, document in _cells_of(results):
        curve = {point["share"]: point for point in document.get("abstention") or []}
        points = (curve.get(share) for share in SHARES)
        rows.append(
            [name, percent(document["accuracy"])]
            + [NOT_MEASURED if p is None else percent(p["accuracy"], p["accuracy_ci95"]) for p in points]
        )
    return "PBC:\n\n" + table(["Network", "0%", *(f"{100 * share:g}%" for share in SHARES)], rows)
