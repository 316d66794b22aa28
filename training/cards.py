"""The model cards, ``model_repository/NAME/README.md``, written from the figures so that they cannot drift."""

from __future__ import annotations

from pathlib import Path

from training.results import ClassifierFigures, DetectorFigures, TrainingRun

_WRITTEN = "<!-- Written by `python -m training export`; edits are lost. -->\n"
_PBC = (
    "PBC, 8 primary types with finer types by file name (Acevedo et al. 2020, Data in Brief, doi "
    "10.17632/snkd93bnjr.1, CC BY 4.0): CellaVision DM96, Hospital Clínic Barcelona."
)
_PBC_LIMITS = """\
- **No split by patient.** The set carries no patient identifiers, so cells of one patient may be on both sides of the
  split, and the figures flatter the model.
- **One laboratory's stain, one camera.** All tiles come from one analyser. Colour, scale and focus were jittered in
  training, but nothing here measures how well that carries to another laboratory.
- **Closed world.** It knows no blasts, reactive lymphocytes, smudge cells or artefacts, and gives them one of its own
  types, at best with too little confidence to be identified.
- The thresholds were chosen on the validation split on which the figures are reported.
- For research; not a medical device.
"""


def write_classifier(folder: Path, figures: ClassifierFigures, title: str, digest: str) -> None:
    """The card of one network, or of the ensemble."""
    text = f"""\
# {title}

{_WRITTEN}
Names the cell in a crop: uint8 [N, 96, 96, 3] RGB in, float32 [N, 11] calibrated probabilities of the leaf types out.
The probability of a primary type is the sum of its leaves.

| | |
|---|---|
| Licence | Apache-2.0 |
| Data | {_PBC} |
| Crops | cut around the detector's boxes by `hemaserve.imaging.cut_crop`, the middle of the tile where it found none |
| Training | {_run(figures.training)} |
| Calibration | temperature {figures.temperature:.3f}, on {figures.calibration_crops} crops kept out of training |
| SHA-256 of `model.onnx`{" of the vote" if figures.name == "ensemble" else ""} | `{digest}` |

## On the validation split (n = {figures.crops})

| | |
|---|---|
| Accuracy, 8 primary types, all crops | {_percent(figures.accuracy)} |
| Accuracy, 11 leaf types, crops labelled with a leaf | {_percent(figures.leaf_accuracy)} |
| Expected calibration error, before / after | {_percent(figures.ece_uncalibrated)} / {_percent(figures.ece)} |
| Identified from a probability of | {figures.identify_threshold:.3f} |
| Accuracy among the identified | {_percent(figures.identified_accuracy)} |
| Unidentified | {_percent(figures.unidentified_share)} |
| Leaves reported (share of neutrophils and immature granulocytes) | {_percent(figures.reported_leaf_share)} |
| Accuracy among the reported leaves | {_percent(figures.reported_leaf_accuracy)} |

| Type | n | Recall | Precision |
|---|---|---|---|
{_types(figures)}

## Limits

{_PBC_LIMITS}"""
    _write(folder, text)


def write_vote(folder: Path, figures: ClassifierFigures, digest: str) -> None:
    """The card of the ensemble's last step."""
    text = f"""\
# Vote

{_WRITTEN}
The last step of the `ensemble`: p = mean of the members' probabilities, then p ** (1 / {figures.temperature:.3f}),
normalised. It has no trained weights; its temperature was fitted on {figures.calibration_crops} crops kept out of
training.
Figures: `../ensemble/README.md`. Licence: Apache-2.0. SHA-256 of `model.onnx`: `{digest}`.
"""
    _write(folder, text)


def write_detector(folder: Path, figures: DetectorFigures, title: str, digest: str) -> None:
    """The card of a detector."""
    rows = "\n".join(
        f"| {kind} | {f.objects} | {f.average_precision_50:.3f} | {f.score_threshold:.2f} | {f.precision:.3f} | "
        f"{f.recall:.3f} |"
        for kind, f in figures.kinds.items()
    )
    text = f"""\
# {title}

{_WRITTEN}
Finds white cells, red cells and platelets in a field: uint8 [N, 416, 416, 3] RGB, letterboxed by
`hemaserve.imaging.letterbox`, in; float32 [N, 7, 3549] out: centre x, centre y, width, height in network pixels, then
the scores of WBC, RBC and platelet, not suppressed.

| | |
|---|---|
| Licence | AGPL-3.0-only (derives from Ultralytics' YOLO and its COCO weights) |
| Data | TXL-PBC (Gan & Li 2024, arXiv 2407.13214, MIT), four sources, fine-tuned from COCO |
| Training | {_run(figures.training)} |
| SHA-256 of `model.onnx` | `{digest}` |

## On the validation split (n = {figures.fields} fields)

mAP50 {figures.map50:.3f}, mAP50-95 {figures.map50_95:.3f}; suppression at IoU {figures.nms_iou:.2f}.

| Kind | Objects | AP50 | Score threshold (best F1) | Precision | Recall |
|---|---|---|---|---|---|
{rows}

## Limits

- The labels have no boxes around nucleated red cells or immature granulocytes: recall for those is not known.
- The set carries no patient identifiers and contains augmented copies of one source's fields, on one side of the split.
- The thresholds were chosen on the validation split on which the figures are reported.
- Fields far from 360 to 640 px a side, where a red cell is some 30 to 90 px wide, should be scaled or tiled first.
- For research; not a medical device.
"""
    _write(folder, text)


def _write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _types(figures: ClassifierFigures) -> str:
    rows = (
        f"| {k} | {f.crops} | {_percent(f.recall)} | {_percent(f.precision)} |"
        for k, f in figures.types.items()
    )
    return "\n".join(rows)


def _run(run: TrainingRun | None) -> str:
    if run is None:
        return "not trained yet: an interim file that shows names and shapes"
    minutes = run.seconds / 60
    return (
        f"{run.epochs} epochs of {run.crops}, {minutes:.0f} min on {run.threads} CPU threads, seed {run.seed}"
    )
