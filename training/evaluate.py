"""Measure a classifier on the validation crops and choose the thresholds that it is served with."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import PRIMARY_TYPES
from training import datasets
from training.calibrate import expected_calibration_error, scorer
from training.crops import CropSet, served_crops
from training.results import ClassifierFigures, TypeFigures

log = logging.getLogger(__name__)

#: What the identified cells' accuracy should reach, and how many cells may be left unidentified for it.
TARGET_ACCURACY: Final = 0.99
MAX_UNIDENTIFIED: Final = 0.08

#: Below this probability another type may be as probable: nothing below is ever identified.
_LOWEST_THRESHOLD: Final = 0.5

_LEAF_THRESHOLD: Final = 0.6


def evaluate(name: str) -> ClassifierFigures:
    """Fill in the figures of a calibrated network, or of the ensemble, from the validation split."""
    figures = ClassifierFigures.read(name)
    crops = served_crops("val")
    at_temperature = scorer(name, crops)
    probabilities = at_temperature(figures.temperature)
    uncalibrated = at_temperature(1.0)

    truth = datasets.primary_index(crops.mask)
    parents = probabilities @ datasets.roll_up()
    winner, confidence = parents.argmax(axis=1), parents.max(axis=1)
    correct = winner == truth
    figures.crops = len(crops)
    figures.accuracy = float(correct.mean())
    figures.ece = expected_calibration_error(confidence, correct)
    figures.ece_uncalibrated = _uncalibrated_ece(uncalibrated, truth)
    figures.identify_threshold = choose_threshold(confidence, correct)
    identified = confidence >= figures.identify_threshold
    figures.identified_accuracy = float(correct[identified].mean())
    figures.unidentified_share = float(1 - identified.mean())
    figures.types = {
        cell_type.value: _type_figures(winner == index, truth == index)
        for index, cell_type in enumerate(PRIMARY_TYPES)
    }
    figures.leaf_threshold = _LEAF_THRESHOLD
    _fill_leaves(figures, probabilities, crops, identified)
    figures.write()
    log.info("%s", figures.model_dump_json(exclude={"types"}))
    return figures


def choose_threshold(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    target: float = TARGET_ACCURACY,
    max_unidentified: float = MAX_UNIDENTIFIED,
) -> float:
    """The smallest threshold whose identified crops are right often enough.

    Args:
        confidence: [N] probability of the winning primary type.
        correct: [N] whether it is the right one.
        target: the accuracy wanted among crops at or above the threshold.
        max_unidentified: share of the crops that may be below; this limit wins over the target.

    Returns:
        A threshold of three decimals, 0.5 or more.
    """
    for threshold in np.arange(_LOWEST_THRESHOLD, 1.0, 0.005):
        identified = confidence >= threshold
        if 1 - identified.mean() > max_unidentified:
            return round(float(max(threshold - 0.005, _LOWEST_THRESHOLD)), 3)
        if correct[identified].mean() >= target:
            return round(float(threshold), 3)
    return 0.995


def _uncalibrated_ece(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    parents = probabilities @ datasets.roll_up()
    return expected_calibration_error(parents.max(axis=1), parents.argmax(axis=1) == truth)


def _type_figures(said: NDArray[np.bool_], true: NDArray[np.bool_]) -> TypeFigures:
    hits = int((said & true).sum())
    return TypeFigures(
        crops=int(true.sum()), recall=hits / max(int(true.sum()), 1), precision=hits / max(int(said.sum()), 1)
    )


def _fill_leaves(
    figures: ClassifierFigures,
    probabilities: NDArray[np.float64],
    crops: CropSet,
    identified: NDArray[np.bool_],
) -> None:
    """The leaf's figures: over all leaves, and as reported for the primary types that have finer ones."""
    rows = np.arange(len(crops))
    labelled = crops.mask.sum(axis=1) == 1
    right = crops.mask[rows, probabilities.argmax(axis=1)]
    figures.leaf_accuracy = float(right[labelled].mean())

    tree = datasets.roll_up()
    winner = (probabilities @ tree).argmax(axis=1)
    within = probabilities * tree.T[winner]
    share = within.max(axis=1) / within.sum(axis=1)
    subtyped = (tree.sum(axis=0) > 1)[winner] & identified
    reported = subtyped & (share >= figures.leaf_threshold)
    figures.reported_leaf_share = float(reported.sum() / max(subtyped.sum(), 1))
    best = within.argmax(axis=1)
    figures.reported_leaf_accuracy = float(crops.mask[rows, best][reported & labelled].mean())
