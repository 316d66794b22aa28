"""The page docs/accuracy.md, made of the figures."""

from collections.abc import Mapping, Sequence

import accuracy_texts as texts
from accuracy_bars import bars_table
from accuracy_cells import abstention_table, cells_section
from accuracy_charts import Chart
from accuracy_measurements import LEFT_OUT, NETWORK, PRESETS, Document, Measurement, Results
from accuracy_words import NOT_MEASURED, marked, number, percent, table


def render(results: Results, left_out: Results, presets: Results, charts: Sequence[Chart]) -> str:
    """The page, of whatever was measured."""
    shown = {chart.name: f"![{chart.title}](accuracy/{chart.name})\n" for chart in charts}
    sections = [
        texts.INTRODUCTION,
        texts.BARS + bars_table(results, left_out, presets),
        texts.COMPARED + _compared(results),
        _detections(results),
        cells_section(results),
        texts.ABSTENTION + abstention_table(results) + _under(shown.get("abstention.svg")),
        texts.SOURCES + _sources(results, left_out) + "\n" + texts.PROFILE,
        _fields(results),
        texts.SCREEN + _screen(results.get("screen")),
        texts.DEFINITIONS,
        texts.CAVEATS,
        _networks(results),
        commands_table({"default": results, LEFT_OUT: left_out, PRESETS: presets}),
    ]
    return "\n".join(sections)


def _under(chart: str | None) -> str:
    return "" if chart is None else f"\n{chart}"


def _compared(results: Results) -> str:
    networks = results.speed.get("networks", {})
    rows = []
    for name in results.classifiers:
        speed = networks.get(name)
        cells = (results.get(f"cells-{name}"), results.get(f"cells-five-types-{name}"))
        rows.append(
            [
                marked(name, results.default_classifier),
                *(
                    [NOT_MEASURED] * 3
                    if speed is None
                    else [
                        f"{speed['file_mb']:.1f}",
                        f"{speed['crops_per_second']:.0f}",
                        f"{100 * speed['ratio']:.0f}%",
                    ]
                ),
                *(
                    NOT_MEASURED
                    if document is None
                    else percent(document["accuracy"], document["accuracy_ci95"])
                    for document in cells
                ),
            ]
        )
    header = ["Network", "MB", "Crops/s", "Of the ceiling", "PBC, 8 types", "PBC, 5 types"]
    if not results.speed:
        return table(header, rows)
    speed = results.speed
    return (
        table(header, rows)
        + f"\nSpeed: {speed['date']}, {speed['cores']} cores ({speed['cpu']}), median of {speed['rounds']} rounds of "
        f"{speed['seconds']:g} s, by `make bench-crops`.\n"
    )


def _detections(results: Results) -> str:
    rows = []
    lines = []
    for name in results.detectors:
        document = results.get(f"detections-{name}")
        title = marked(name, results.default_detector)
        if document is None:
            lines.append(f"- {title}: {NOT_MEASURED}")
            continue
        lines.append(
            f"- {title}: **mAP50 {document['map50']:.3f}**, mAP50-95 {document['map50_95']:.3f}, "
            f"{document['n']} fields{_failed(document)}"
        )
        rows += [
            [
                title,
                kind.upper() if kind != "platelet" else "Platelet",
                str(document["boxes"][kind]),
                f"{document['ap50'][kind]:.3f}",
                f"{document['score_thresholds'][kind]:.2f}",
                percent(document["recall"][kind], document["recall_ci95"][kind]),
                percent(document["precision"][kind], document["precision_ci95"][kind]),
            ]
            for kind in document["ap50"]
        ]
    header = ["Network", "Kind", "Boxes", "AP50", "Score from", "Recall", "Precision"]
    return (
        "## Finding cells\n\n`smear_fields`:\n\n"
        + "".join(f"{line}\n" for line in lines)
        + "\n"
        + table(header, rows)
    )


def _failed(document: Document) -> str:
    return f" ({len(document['failed'])} more could not be read)" if document["failed"] else ""


def _sources(results: Results, left_out: Results) -> str:
    rows = []
    for name in dict.fromkeys([*results.classifiers, *left_out.classifiers]):
        cells = results.get(f"cells-{name}")
        fields = [
            results.get(f"fields-{name}"),
            *(left_out.get(f"fields-{name}{suffix}") for suffix in ("", "-profile", "-train")),
        ]
        rows.append([marked(name, results.default_classifier), _of_cells(cells), *map(_of_fields, fields)])
    header = [
        *("Network", "PBC", "bccd"),
        *("bccd, left out", "bccd, left out, with a site profile", "bccd, left out, its training side"),
    ]
    return table(header, rows)


def _of_cells(document: Document | None) -> str:
    if document is None:
        return NOT_MEASURED
    return _both(document["accuracy"], document["accuracy_ci95"], document, document["n"])


def _of_fields(document: Document | None) -> str:
    if document is None:
        return NOT_MEASURED
    return _both(document["type_accuracy"], document["type_accuracy_ci95"], document, document["typed"])


def _both(accuracy: float | None, interval: Sequence[float], document: Document, n: int) -> str:
    identified = percent(document["accuracy_identified"])
    unidentified = percent(document["unidentified"] / n if n else None)
    return f"{percent(accuracy, interval)} of {n}; {identified} with {unidentified} unidentified"


def _fields(results: Results) -> str:
    rows = []
    for name in results.classifiers:
        if (document := results.get(f"fields-{name}")) is None:
            continue
        reasons = document.get("unidentified_reasons") or {}
        rows.append(
            [
                marked(name, results.default_classifier),
                str(document["typed"]),
                percent(document["type_accuracy"], document["type_accuracy_ci95"]),
                str(document["unidentified"]),
                ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons.items())
                or "none",
                percent(document["accuracy_identified"], document["accuracy_identified_ci95"]),
            ]
        )
    first = results.get(f"fields-{results.default_classifier}")
    found = NOT_MEASURED
    if first is not None:
        found = (
            f"{first['n']} fields{_failed(first)} with {first['wbc_labelled']} labelled white cells: "
            f"recall {percent(first['wbc_recall'], first['wbc_recall_ci95'])}, "
            f"precision {percent(first['wbc_precision'], first['wbc_precision_ci95'])}"
        )
    header = [
        "Network",
        "Cells with a known type",
        "Type accuracy",
        "Unidentified",
        "Why",
        "Accuracy of the identified",
    ]
    return f"## Whole fields\n\n`bccd`, {found}. Of the matched cells:\n\n" + table(header, rows)


def _screen(document: Document | None) -> str:
    if document is None:
        return f"{NOT_MEASURED.capitalize()}.\n"
    cells = document["cells"]
    rows = [
        [what, percent(figures[key], figures[f"{key}_ci95"]), str(figures[n])]
        for what, figures, key, n in (
            ("Right class", document, "accuracy", "n"),
            ("Malignant fields flagged (sensitivity)", document, "sensitivity", "malignant"),
            ("Benign fields not flagged (specificity)", document, "specificity", "benign"),
            ("Cells of malignant fields flagged", cells, "flagged", "n"),
            ("Cells of benign fields flagged", cells, "benign_flagged", "benign_n"),
            ("Cells of malignant fields with a normal type and no flag", cells, "unflagged_normal_cell", "n"),
            ("the same, and their field is not flagged either", cells, "unflagged_normal", "n"),
        )
    ]
    per_class = [
        [
            name,
            str(scores["support"]),
            *(percent(scores[key], scores[f"{key}_ci95"]) for key in ("precision", "recall", "f1")),
        ]
        for name, scores in document["per_class"].items()
    ]
    return (
        f"`leukemia`, {document['n']} fields{_failed(document)}, area under the ROC curve of malignant from benign "
        f"{number(document['auroc'], document['auroc_ci95'])}:\n\n"
        + table(["Share", "Measured", "n"], rows)
        + "\n"
        + table(["Class", "n", "Precision", "Recall", "F1"], per_class)
    )


def _networks(results: Results) -> str:
    sizes = results.speed.get("file_mb", {})
    rows = [
        [
            model["name"],
            model["title"],
            model["source"]["version"],
            f"{sizes[model['name']]:.1f}" if model["name"] in sizes else "",
            f"`{model['source']['sha256']}`",
        ]
        for model in results.models
    ]
    return "## The networks\n\n" + table(["Name", "Title", "Version", "MB", "SHA-256"], rows)


def commands_table(groups: Mapping[str, Results]) -> str:
    """Each command once, with the networks that it asked, by what the stack served."""
    rows = []
    for label, results in groups.items():
        commands: dict[str, list[Measurement]] = {}
        for measurement in results.measured:
            commands.setdefault(measurement.shown, []).append(measurement)
        for shown, made in commands.items():
            documents = [results.documents[measurement.name] for measurement in made]
            dates = sorted({document["date"] for document in documents})
            versions = sorted({document["provenance"]["software_version"] for document in documents})
            names = ", ".join(measurement.model for measurement in made if measurement.model is not None)
            rows.append(
                [f"`{shown}`", label, names, " to ".join(dates[:1] + dates[1:][-1:]), ", ".join(versions)]
            )
    return "## The commands\n\n" + table(["Command", "Stack", NETWORK, "Date", "HemaServe"], rows)
