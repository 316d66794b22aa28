"""The page docs/accuracy.md: what is measured for it, and how it is made of the figures."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hemaserve.cells import FACTS, CellType

DATA = "$HEMASERVE_DATA"

Document = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One run of `hemaserve evaluate`.

    Attributes:
        name: of its JSON file.
        what: cells, detections or fields.
        folder: below the data folder.
        options: further arguments.
    """

    name: str
    what: str
    folder: str
    options: tuple[str, ...] = ()

    def command(self, data: str, json_file: str) -> list[str]:
        return ["evaluate", self.what, f"{data}/{self.folder}", *self.options, "--json", json_file]

    @property
    def shown(self) -> str:
        """The command as anybody would type it."""
        return " ".join(["hemaserve", *self.command(DATA, f"{self.name}.json")])


NETWORKS = ("xception", "vit", "ensemble")
DETECTIONS = Measurement("detections", "detections", "smear_fields", ("--split", "val"))
CELLS = {name: Measurement(f"cells-{name}", "cells", "pbc/val", ("--model", name)) for name in NETWORKS}
FIELDS = {name: Measurement(f"fields-{name}", "fields", "bccd/val", ("--model", name)) for name in NETWORKS}
MEASUREMENTS = (DETECTIONS, *CELLS.values(), *FIELDS.values())

INTRODUCTION = """\
# Accuracy

Research and verification use only; not a medical device. These figures say how the networks do on public
image sets; they do not replace a laboratory's verification on its own images, for which the same commands
are meant.

Written by `scripts/accuracy.py` from the JSON files in [docs/accuracy](accuracy/), which the commands below
wrote through the running services (gateway, detector, classifier, Triton). `$HEMASERVE_DATA` is the folder
with the image sets.
"""

_OTHER_LABORATORIES = """\
The classifiers were trained on PBC alone, and these fields come from other cameras and stains: this table, and not
the one above it, is what to expect of a laboratory that they have not seen. The last column is what a differential
would count.
"""

CAVEATS = """\
## What these figures are not

- **No split is by patient.** None of the sets says which images come from the same patient, so cells of one
  patient may be on both sides of a split, and all figures are likely to be better than on new patients.
- **Few laboratories.** All of PBC comes from one analyzer (CellaVision DM96) in one hospital, `smear_fields`
  from four sources; another stain, camera or scale can cost much, as the whole fields above show.
- **The sets overlap.** Every `bccd` field is also in `smear_fields`, as it is or augmented, on the same
  side of the split: the two are not independent evidence. PBC tiles in `smear_fields` are all from
  `pbc/train`.
- **Labels have gaps.** Some `bccd` fields lack white-cell or red-cell boxes, which counts found cells as
  false alarms; `smear_fields` has no boxes around erythroblasts and immature granulocytes. Finding those is
  not measured there.
- **The validation side is what thresholds and training were tuned on.** Figures on sets held back
  altogether may be lower.

Sources: PBC, Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1 (CC BY 4.0); smear_fields is TXL-PBC, Gan & Li
2024, arXiv 2407.13214 (MIT); bccd is BCCD (MIT).
"""

DEFINITIONS = """\
## How to read them

- *Accuracy* counts the best guess for every image, identified or not: the primary type with the largest
  probability. *Accuracy of the identified* leaves out the cells that the classifier would not name, which a
  differential leaves out too.
- *Intervals* are 95%: exact (Clopper-Pearson) for accuracies and shares, percentile bootstrap (1,000 draws)
  for precision, recall and F1 of cell types. They tell of the number of images, not of the caveats below,
  and take boxes of one field as independent, which they are not quite.
- *ECE* is the expected calibration error of the primary type's probability, 15 bins of equal width; 0 is
  perfect.
- *Fallbacks* are single-cell images in which no detection holds the centre; the middle of the image was
  classified.
- *mAP50* and *mAP50-95* are COCO's. Recall and precision of kinds are at the detector's own score
  thresholds and an overlap (IoU) of 0.5.
- *Type accuracy* of fields: of the found cells that match a labelled one, the share whose best guess is a
  type that the field's label names; where it names several, each can be used up once.
"""


def render(results: Path) -> str:
    """The page made of the JSON files in `results`."""
    documents = {m.name: _load(results / f"{m.name}.json") for m in MEASUREMENTS}
    models = _load(results / "models.json")["models"]
    for name, document in documents.items():
        _check_networks(name, document, models)
    cells = {name: documents[measurement.name] for name, measurement in CELLS.items()}
    fields = {name: documents[measurement.name] for name, measurement in FIELDS.items()}
    default = next((m["name"] for m in models if m["is_default"] and m["name"] in CELLS), NETWORKS[-1])
    sections = [
        INTRODUCTION,
        _detections(documents[DETECTIONS.name]),
        _cells(cells, default),
        _per_type(cells[default], default),
        _fields(fields, default),
        DEFINITIONS,
        CAVEATS,
        _model_section(models),
        _commands(documents),
    ]
    return "\n".join(sections)


def _load(path: Path) -> Document:
    document = dict(json.loads(path.read_text(encoding="utf-8")))
    if document.get("partial"):
        raise SystemExit(f"{path.name} is partial: measure it again")
    return document


def _check_networks(name: str, document: Document, models: Sequence[Document]) -> None:
    """Figures of an older network must not stand beside the digests of today's."""
    digests = {model["name"]: model["source"]["sha256"] for model in models}
    provenance = document["provenance"]
    for source in (provenance["detector"], provenance["classifier"], *provenance["members"]):
        if source is not None and digests.get(source["name"]) != source["sha256"]:
            raise SystemExit(f"{name}.json is of another {source['name']} than models.json: measure it again")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _percent(share: float | None, interval: Sequence[float] | None = None) -> str:
    if share is None:
        return "none"
    limits = "" if interval is None else f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return f"{100 * share:.1f}%{limits}"


def _type_title(name: str) -> str:
    return FACTS[CellType(name)].title


def _detections(document: Document) -> str:
    rows = [
        [
            kind.upper() if kind != "platelet" else "Platelet",
            str(document["boxes"][kind]),
            f"{document['ap50'][kind]:.3f}",
            f"{document['score_thresholds'][kind]:.2f}",
            _percent(document["recall"][kind], document["recall_ci95"][kind]),
            _percent(document["precision"][kind], document["precision_ci95"][kind]),
        ]
        for kind in document["ap50"]
    ]
    return (
        "## Finding cells\n\n"
        f"`smear_fields`, validation side, {document['n']} fields{_failed(document)}: "
        f"**mAP50 {document['map50']:.3f}**, mAP50-95 {document['map50_95']:.3f}.\n\n"
        + _table(["Kind", "Boxes", "AP50", "Score from", "Recall", "Precision"], rows)
    )


def _failed(document: Document) -> str:
    return f" ({len(document['failed'])} more could not be read)" if document["failed"] else ""


def _cells(documents: dict[str, Document], default: str) -> str:
    rows = [
        [
            f"{name} (default)" if name == default else name,
            str(document["n"]),
            _percent(document["accuracy"], document["accuracy_ci95"]),
            _percent(document["macro_f1"], document["macro_f1_ci95"]),
            f"{document['ece']:.3f}",
            _percent(document["unidentified"] / document["n"]),
            _percent(document["accuracy_identified"], document["accuracy_identified_ci95"]),
            str(document["fallbacks"]),
        ]
        for name, document in documents.items()
    ]
    header = [
        "Network",
        "n",
        "Accuracy",
        "Macro F1",
        "ECE",
        "Unidentified",
        "Accuracy of the identified",
        "Fallbacks",
    ]
    return (
        "## Naming cells\n\n"
        "PBC, validation side, eight types, each image sent the way of a whole field (found by the detector, cut, "
        "named):\n\n" + _table(header, rows)
    )


def _per_type(document: Document, name: str) -> str:
    scores = document["per_type"]
    rows = [
        [
            _type_title(cell_type),
            str(row["support"]),
            *(_percent(row[key], row[f"{key}_ci95"]) for key in ("precision", "recall", "f1", "specificity")),
        ]
        for cell_type, row in scores.items()
    ]
    answers = list(next(iter(document["confusion"].values())))
    confusion = [
        [_type_title(truth), *(str(row[answer]) for answer in answers)]
        for truth, row in document["confusion"].items()
    ]
    return (
        f"Each type, by {name}:\n\n"
        + _table(["Type", "n", "Precision", "Recall", "F1", "Specificity"], rows)
        + "\nWhat was taken for what (rows: the label; columns: the best guess):\n\n"
        + _table(["", *map(_type_title, answers)], confusion)
    )


def _fields(documents: dict[str, Document], default: str) -> str:
    first = documents[default]
    rows = [
        [
            f"{name} (default)" if name == default else name,
            str(document["typed"]),
            _percent(document["type_accuracy"], document["type_accuracy_ci95"]),
            str(document["unidentified"]),
            _percent(document["accuracy_identified"], document["accuracy_identified_ci95"]),
        ]
        for name, document in documents.items()
    ]
    return (
        "## Whole fields, of other laboratories\n\n"
        f"`bccd`, validation side, {first['n']} fields{_failed(first)} with {first['wbc_labelled']} labelled white "
        f"cells: "
        f"recall {_percent(first['wbc_recall'], first['wbc_recall_ci95'])}, "
        f"precision {_percent(first['wbc_precision'], first['wbc_precision_ci95'])}. Of the matched cells:\n\n"
        + _table(
            [
                "Network",
                "Cells with a known type",
                "Type accuracy",
                "Unidentified",
                "Accuracy of the identified",
            ],
            rows,
        )
        + f"\n{_OTHER_LABORATORIES}"
    )


def _model_section(models: Iterable[Document]) -> str:
    rows = [
        [model["name"], model["title"], model["source"]["version"], f"`{model['source']['sha256']}`"]
        for model in models
    ]
    return "## The networks\n\n" + _table(["Name", "Title", "Version", "SHA-256"], rows)


def _commands(documents: dict[str, Document]) -> str:
    def lines() -> Iterator[str]:
        for measurement in MEASUREMENTS:
            document = documents[measurement.name]
            software = document["provenance"]["software_version"]
            yield f"| `{measurement.shown}` | {document['date']} | {software} |"

    header = "| Command | Date | HemaServe |\n|---|---|---|\n"
    return "## The commands\n\n" + header + "\n".join(lines()) + "\n"
