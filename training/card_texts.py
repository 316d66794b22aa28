"""What the model cards say that no figure does: the image sets, the intended use, and the limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WRITTEN: Final = "<!-- Written by `python -m training export`; edits are lost. -->"

RESEARCH: Final = (
    "For research, and for laboratories and vendors that verify or build such systems. Not a medical device: see "
    "`docs/intended-use.md`."
)

CLASSIFIER: Final = (
    "Names the cell in a crop: uint8 [N, S, S, 3] RGB in (S: see `config.pbtxt`); out come float32 [N, 11] calibrated "
    "probabilities of the leaf types, and float32 [N, 1] an out-of-distribution score: the free energy of the logits, "
    "standardised over the calibration crops (Liu et al. 2020). The probability of a primary type is the sum of its "
    "leaves."
)
VOTE: Final = (
    "The last step of the `ensemble`: the mean of the members' probabilities, sharpened by the temperature below and "
    "normalised (p ** (1 / temperature)), and the mean of their out-of-distribution scores. It has no trained weights. "
    "Figures, and the calibration for when members are missing: [the ensemble's card](../ensemble/README.md)."
)
DETECTOR: Final = (
    "Finds white cells, red cells and platelets in a field: uint8 [N, S, S, 3] RGB, letterboxed by "
    "`hemaserve.imaging.letterbox`, in (S: see `config.pbtxt`); float32 [N, 7, A] out, for each of A candidates: "
    "centre x, centre y, width, height in network pixels, then the scores of WBC, RBC and platelet, not suppressed."
)
SCREENS: Final[Mapping[str, str]] = {
    "leukemia_field": (
        "Flags fields that look as if they came from a smear with acute lymphoblastic leukemia: uint8 [N, S, S, 3] "
        "RGB, the lower right corner masked, letterboxed by `hemaserve.imaging.letterbox`, in; float32 [N, 4] "
        "probabilities out."
    ),
    "leukemia_cell": (
        "Flags single white cells that look as if they came from a field with acute lymphoblastic leukemia: uint8 "
        "[N, S, S, 3] RGB crops in; float32 [N, 2] probabilities out."
    ),
}

DETECTOR_FIGURES: Final = (
    "Precision and recall are those at the score with the best F1, at an overlap (IoU) of 0.5, with exact 95% "
    "limits."
)
IDENTIFIED: Final = (
    "A cell is identified when its primary type is probable enough, its out-of-distribution score is within its limit "
    "and, in the ensemble, the members do not disagree too much. When members are missing, those that answer vote by "
    "a calibration and limits of their own."
)

_IMAGENET: Final = "EfficientNet-Lite0's ImageNet weights (Apache-2.0)"
#: What each network's weights were before its training, where its recipe does not say it all.
STARTS: Final[Mapping[str, str]] = {
    "efficientnet": _IMAGENET,
    "xception": "`xception-base`, trained from nothing on PBC by an earlier version of the recipe",
    "vit": f"{_IMAGENET} in its first three stages, nothing in its transformer",
    "leukemia_field": _IMAGENET,
    "leukemia_cell": _IMAGENET,
}

DETECTOR_LICENCE: Final = "AGPL-3.0-only (derives from Ultralytics' YOLO and its COCO weights)"
SCREEN_LICENCE: Final = "LicenseRef-research-use: for research, as the images that it was made from"

NO_PATIENTS: Final = (
    "No set carries patient identifiers, so no split is by patient: images of one patient may be on both sides, and "
    "the figures flatter the network."
)


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A public set of images.

    Attributes:
        title: its name, source and reference.
        licence: of the images.
    """

    title: str
    licence: str


PBC: Final = ImageSet(
    "PBC: single cells, CellaVision DM96, Hospital Clínic Barcelona (Acevedo et al. 2020, Data in Brief, doi "
    "10.17632/snkd93bnjr.1); 8 primary types, finer types by file name",
    "CC BY 4.0",
)
BCCD: Final = ImageSet("BCCD: whole fields with boxes; the type of each field's white cells", "MIT")
TXL_PBC: Final = ImageSet(
    "TXL-PBC: whole fields with boxes, from four sources, BCCD and PBC among them (Gan & Li 2024, arXiv 2407.13214)",
    "MIT",
)
LEUKEMIA: Final = ImageSet(
    "Leukemia: fields of benign (hematogones) and malignant (early pre-B, pre-B, pro-B ALL) smears, Taleqani Hospital, "
    "Tehran (Aria et al. 2021)",
    "research use",
)

CLASSIFIER_LIMITS: Final = """\
- **Few laboratories.** Nearly all cells come from one analyser and one stain; some two hundred come from a second
  laboratory. Colour, scale and focus were jittered in training; for a third laboratory expect figures nearer to those
  of the set that was left out than to those of PBC, and verify on your own slides.
- **Closed world.** It knows no blasts, reactive lymphocytes, plasma cells, smudge cells, parasites or artefacts, and
  gives them one of its own types. The out-of-distribution score and the members' disagreement leave some of them
  unidentified, not all.
- **Leaves are harder than types.** Bands against segmented neutrophils, and the stages of immature granulocytes, are
  continua that people disagree on too.
- The thresholds were chosen on the validation split on which the figures are reported."""

DETECTOR_LIMITS: Final = """\
- No smear field has boxes around nucleated red cells or immature granulocytes: recall for those is not measured there.
- The set contains augmented copies of one source's fields, always on one side of the split.
- The thresholds were chosen on the validation split on which the figures are reported.
- Fields far from 360 to 640 px a side, where a red cell is some 30 to 90 px wide, should be scaled or tiled first."""

_SCREEN_LIMITS: Final = """\
- **A flag, never a diagnosis.** It asks a person to look; its absence says nothing about the patient.
- **One hospital.** All fields come from one laboratory, one camera and one stain, of patients with these conditions
  only. Nothing here measures other leukemias, other laboratories, treated patients, or healthy blood.
- **The burned-in scale bar** goes with the class in the set. It is masked in training, in evaluation and in serving.
- **Neighbouring fields** can show one smear. Splits keep blocks of ten numbers together, but one patient may still be
  on both sides. The intervals take images as independent, and are too narrow.
- **Research-use data.** The images may be used for research; whether a network made from them may be used for anything
  else is for your counsel to say.
- The flag's threshold was chosen on the images kept out of training and the validation split together."""

SCREEN_LIMITS: Final[Mapping[str, str]] = {
    "leukemia_field": _SCREEN_LIMITS,
    "leukemia_cell": "- **Weak labels.** A cell is labelled by its field. Malignant fields hold healthy cells as well, "
    "so a cell called\n  blast-like is one that looks as if it came from a malignant field, and the figures count "
    "fields' labels, not cells'.\n" + _SCREEN_LIMITS,
}
