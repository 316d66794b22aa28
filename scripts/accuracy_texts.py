"""The words of docs/accuracy.md that no figure changes."""

from accuracy_measurements import SITE_PROFILE

INTRODUCTION = """\
# Accuracy

Research and verification use only; not a medical device. These figures say how the networks do on public
image sets; they do not replace a laboratory's verification on its own images, for which the same commands
are meant.

Written by `scripts/accuracy.py` from the JSON files in [docs/accuracy](accuracy/), which the commands below
wrote through the running services (gateway, detector, classifier, Triton). `$HEMASERVE_DATA` is the folder
with the image sets, `$HEMASERVE_RUNS` that of what the [factory](../training/README.md) makes on the way; the stack
`default` serves the networks of this repository, `left-out` those trained without bccd, `presets` those trained by the
recipes of papers. All figures are of validation sides, unless it says otherwise.
[Evaluating on your own images](evaluation.md) says what each figure means.
"""

BARS = """\
## What was asked for, and what was reached

Networks "trained without" a set are a second family from the same factory that has seen none of its images: the
stand-in for a laboratory that nobody trained for.

"""

COMPARED = """\
## The classifiers side by side

Crops per second are of full batches through Triton; *of the ceiling* is the share of what the same networks do in one
process without Triton, measured in turns with it. With the papers' own recipes, and on a chart:
[networks.md](networks.md).

"""

LEAVES = """\
Leaves, on the images whose file names say them. *Band from segmented* is among true bands and segmented neutrophils
the share whose likelier one of the two is the right one.

"""

CALIBRATION = """\
Are the probabilities honest? Both losses are against a baseline that gives the same best guesses, each with the
network's accuracy as its confidence and the rest spread evenly over the other types; below 1 is better than that.

"""

ABSTENTION = """\
What abstaining buys: accuracy on the rest when the least certain cells are set aside, the unidentified ones first.

"""

SOURCES = """\
## By source

Accuracy of the best guess, and of the identified with the share that is unidentified. The left-out columns are of
networks that were trained without any image of bccd.

"""

PROFILE = f"""\
The site profile was learned from unlabelled fields:
`hemaserve adapt $HEMASERVE_DATA/bccd/train/images --name {SITE_PROFILE}`.
"""

SCREEN = """\
## The leukemia screen

A reason to look, never a diagnosis. Fields are named by their folder; cells have only the label of their field.

"""

DEFINITIONS = """\
## How to read them

- *Accuracy* counts the best guess for every image, identified or not: the primary type with the largest
  probability. *Accuracy of the identified* leaves out the cells that the classifier would not name, which a
  differential leaves out too.
- *Intervals* are 95%: exact (Clopper-Pearson) for accuracies and shares, percentile bootstrap (1,000 draws)
  for precision, recall, F1 and ratios of losses. They tell of the number of images, not of the caveats below,
  and take boxes of one field as independent, which they are not quite.
- *ECE* is the expected calibration error of the primary type's probability, 15 bins of equal width; 0 is
  perfect. Of a few dozen cells it is mostly noise.
- *Fallbacks* are single-cell images in which no detection holds the centre; the middle of the image was
  classified.
- *mAP50* and *mAP50-95* are COCO's. Recall and precision of kinds are at the detector's own score
  thresholds and an overlap (IoU) of 0.5.
- *Type accuracy* of fields: of the found cells that match a labelled one, the share whose best guess is a
  type that the field's label names; where it names several, each can be used up once.
"""

CAVEATS = """\
## What these figures are not

- **No split is by patient.** None of the sets says which images come from the same patient, so cells of one
  patient may be on both sides of a split, and all figures are likely to be better than on new patients.
- **Few laboratories.** All of PBC comes from one analyzer (CellaVision DM96) in one hospital, `smear_fields`
  from four sources, `leukemia` from one hospital; another stain, camera or scale can cost much, as the left-out
  figures show.
- **The sets overlap.** Every `bccd` field is also in `smear_fields`, as it is or augmented, on the same
  side of the split: the two are not independent evidence. PBC tiles in `smear_fields` are all from
  `pbc/train`. Networks trained without `bccd` have seen neither.
- **Labels have gaps.** Some `bccd` fields lack white-cell or red-cell boxes, which counts found cells as
  false alarms; `smear_fields` has no boxes around erythroblasts and immature granulocytes. Finding those is
  not measured there. No cell of `leukemia` has a label of its own.
- **mooney is not independent evidence.** Its images are 16 to 155 augmentations of each of some 280 photographs, from
  the same fields as `bccd`. Split at random, augmentations of one photograph are on both sides, and the figure says
  little about photographs that were never seen. Split by original image, none has a brother on the other side; which
  image is of which photograph was found by what is in them, and the 187 that this did not tell are left out. Some 50
  photographs measure then, three of them of monocytes: the limits take augmentations of one photograph as
  independent, and are far too narrow.
- **The left-out laboratory is not quite a stranger.** Nothing was trained on `bccd` there, but how crops are
  standardised and augmented, and how a site profile is estimated, was chosen by figures on its cells, both sides.
  A laboratory that nobody has looked at may fare worse.
- **The validation side is what thresholds and training were tuned on**, and by which the ensemble's members, the
  detector's input size and the screen's flag were chosen. Figures on sets held back
  altogether may be lower.

Sources: PBC, Acevedo et al. 2020, doi 10.17632/snkd93bnjr.1 (CC BY 4.0); smear_fields is TXL-PBC, Gan & Li
2024, arXiv 2407.13214 (MIT); bccd is BCCD (MIT); leukemia is Aria et al. 2021 (research use).
"""
