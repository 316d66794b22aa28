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
EVIDENCE: Final = (
    "A third output, `evidence`, float32 [N, 11, h, w] (h, w: see `config.pbtxt`), tells what each place of the crop "
    "adds to each leaf's logit, before the temperature (class activation map, Zhou et al. 2016). {of_network}"
)
_MEAN: Final = "The logit is its mean over all places, plus a constant of the leaf."
#: What a network's evidence adds up to, where that is not `_MEAN` alone; by the name of its architecture.
_EVIDENCE_OF: Final[Mapping[str, str]] = {
    "vit": f"The tokens' evidence is followed back to the places by attention roll-out (Abnar & Zuidema 2020). {_MEAN}",
    "hybrid_dense": (
        f"The dense layer's part is gradient times feature; what its biases add is spread evenly. {_MEAN}"
    ),
}
VOTE: Final = (
    "The last step of the `{ensemble}`: the mean of the members' probabilities, sharpened by the temperature below and "
    "normalised (p ** (1 / temperature)), and the mean of their out-of-distribution scores. It has no trained weights. "
    "Figures, and the calibration for when members are missing: [the ensemble's card](../{ensemble}/README.md)."
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

#: Where each architecture comes from, by its name in `training.architectures`.
ARCHITECTURES: Final[Mapping[str, str]] = {
    "efficientnet": "EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation)",
    "leukemia_cell": "EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation)",
    "leukemia_field": "EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation)",
    "xception": "Xception (Chollet 2017) at about a fifth of its width and half of its middle flow",
    "xception_full": "Xception (Chollet 2017)",
    "vit": "a vision transformer on a convolutional stem, the hybrid of Dosovitskiy et al. 2021",
    "vgg19": (
        "VGG-19 with batch normalisation (Simonyan & Zisserman 2015); the mean of the map stands for its last pooling "
        "and its two dense layers of 4096"
    ),
    "unet": "U-Net (Ronneberger et al. 2015) at a quarter of its width, its map averaged for a linear head",
    "unet_wide": "the same U-Net (Ronneberger et al. 2015), half as wide again",
    "resnet50": "ResNet-50 (He et al. 2016)",
    "inceptionv3": "Inception-v3 (Szegedy et al. 2016); below 150 px its first convolution does not halve the crop",
    "squeezenet": "SqueezeNet 1.1 (Iandola et al. 2016) with simple bypass, and batch normalisation of our own",
    "efficientnet_b0": "EfficientNet-B0 (Tan & Le 2019)",
    "efficientnet_b2": "EfficientNet-B2 (Tan & Le 2019)",
    "efficientnet_b3": "EfficientNet-B3 (Tan & Le 2019)",
    "hybrid_dense": 'the "hybrid CNN-GNN" of Altarawneh 2023 as it was built: a dense layer beside a CNN',
    "hybrid_graph": (
        'the "hybrid CNN-GNN" of Altarawneh 2023 in earnest: a graph network beside a CNN (vision GNN, Han et al. '
        "2022; relative features as in Li et al. 2019; conditional positions, Chu et al. 2021)"
    ),
}
#: The papers whose recipes are repeated, by how the names of theirs begin; see `training.recipes.presets`.
PAPERS: Final[Mapping[str, str]] = {
    "hussien2025_": "Hussien & Kareem 2025",
    "altarawneh2023_": "Altarawneh 2023",
    "albadareen2024_": "AL-Badareen et al. 2024",
    "bhavana_": "Bhavana & Balakrishna",
    "mooney_": "Altarawneh 2023, on the same set",
}
#: The networks that learned from the training side of BCCD as well. All others are strangers to it.
SAW_BCCD: Final = frozenset({"efficientnet", "xception", "vit"})
#: How large weights are stored.
STORAGE: Final[Mapping[str, str]] = {
    "fp16": "FP16",
    "int8": "INT8 with a scale for every output channel, vectors FP16; computed with as float32",
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
MOONEY: Final = ImageSet(
    "Mooney: BCCD's fields with one white cell, 16 to 155 augmentations of each of some 280 photographs, four types",
    "MIT",
)
LEUKEMIA: Final = ImageSet(
    "Leukemia: fields of benign (hematogones) and malignant (early pre-B, pre-B, pro-B ALL) smears, Taleqani Hospital, "
    "Tehran (Aria et al. 2021)",
    "research use",
)

_FEW_LABORATORIES: Final = """\
- **Few laboratories.** Nearly all cells come from one analyser and one stain; some two hundred come from a second
  laboratory. Colour, scale and focus were jittered in training; for a third laboratory expect figures nearer to those
  of the set that was left out than to those of PBC, and verify on your own slides.
"""
_ONE_LABORATORY: Final = """\
- **One laboratory.** All cells that it learned from come from one laboratory and one stain. For another one expect
  worse figures than those of its validation side, nearer to those of BCCD where this card has them, and verify on your
  own slides.
"""
_CLASSIFIER_LIMITS: Final = """\
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


def evidence(architecture: str) -> str:
    """What the third output of a network is."""
    return EVIDENCE.format(of_network=_EVIDENCE_OF.get(architecture, _MEAN))


def classifier_limits(laboratories: int) -> str:
    """The limits of a classifier that learned from one laboratory, or from more."""
    first = _ONE_LABORATORY if laboratories == 1 else _FEW_LABORATORIES
    return f"- {NO_PATIENTS}\n{first}{_CLASSIFIER_LIMITS}"
