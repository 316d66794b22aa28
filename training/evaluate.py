"""Measure a classifier on the validation crops and choose the thresholds that it is served with."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, UnidentifiedReason
from hemaserve.evaluation import metrics
from training import abstention, answers, datasets, scores, source_figures
from training.answers import Answers
from training.crops import CropSet
from training.ensemble import ENSEMBLES, proper_subsets, subset_name
from training.recipes import MOONEY, RECIPES
from training.results import CalibrationFigures, ClassifierFigures, TypeFigures

log = logging.getLogger(__name__)

#: Share of its primary type that a leaf needs: clearly more than the next best of two.
_LEAF_THRESHOLD: Final = 0.6


def evaluate(name: str) -> ClassifierFigures:
    """Fill in the figures of a calibrated network, or of the ensemble, and choose its limits and thresholds.

    All on the validation split. The limit on the members' disagreement comes first, then, among the cells that keep
    to both limits, the threshold. The ensemble's subsets get their own.
    """
    figures = ClassifierFigures.read(name)
    crops = validation_crops(name)
    if name in ENSEMBLES:
        members = ENSEMBLES[name].members
        opinions = answers.opinions_of(members, crops)
        said = answers.of_vote(list(opinions.values()))
        for subset in proper_subsets(members):
            subset_answers = answers.of_vote([opinions[member] for member in subset])
            choose(figures.subsets[subset_name(subset)], subset_answers, crops)
    else:
        said = answers.of_network(answers.logits_of(name, crops), figures)
    identified = choose(figures, said, crops)
    figures.crops = len(crops)
    probabilities = said.at_temperature(figures.temperature)
    truth = datasets.primary_index(crops.mask)
    winner, confidence = _best(probabilities)
    figures.primary = scores.score(truth, winner, PRIMARY_TYPES)
    figures.reliability = metrics.reliability_bins(confidence.tolist(), (winner == truth).tolist())
    figures.ece_uncalibrated = _uncalibrated_ece(said.at_temperature(1.0), truth)
    figures.types = {
        cell_type.value: _type_figures(winner == index, truth == index)
        for index, cell_type in enumerate(PRIMARY_TYPES)
    }
    _fill_leaves(figures, probabilities, crops, identified)
    # Mooney's fields are BCCD's: that set is no stranger to networks that learned from them.
    if name not in [recipe.name for recipe in MOONEY]:
        figures.sources = {"bccd": source_figures.bccd(figures, crops.crops.shape[1])}
    figures.write()
    log.info("%s", figures.model_dump_json(include={*CalibrationFigures.model_fields}))
    return figures


def validation_crops(name: str) -> CropSet:
    """The served crops that measure a network, or an ensemble."""
    recipe = RECIPES[answers.recipe_of(name)]
    return recipe.task.validation(recipe.side_px)


def choose(figures: CalibrationFigures, said: Answers, crops: CropSet) -> NDArray[np.bool_]:
    """Choose the limit on the disagreement and the thresholds, and fill in what they come to on labelled crops.

    Args:
        figures: has the temperature and the limit on the out-of-distribution score; gets the rest.
        said: about the crops.

    Returns:
        Which crops [N] are identified.
    """
    winner, confidence = _best(said.at_temperature(figures.temperature))
    correct = winner == datasets.primary_index(crops.mask)
    if said.disagreements is not None:
        share = abstention.DISAGREEMENT_SHARE
        figures.disagreement_limit = abstention.limit_tripped_by(said.disagreements, share)
    known = abstention.within(said.ood_scores, figures.ood_limit)
    agreed = abstention.within(said.disagreements, figures.disagreement_limit)
    figures.identify_threshold = abstention.choose_threshold(confidence, correct, known & agreed)
    figures.leaf_threshold = _LEAF_THRESHOLD
    sure = confidence >= figures.identify_threshold
    identified = np.asarray(sure & known & agreed)
    figures.accuracy = float(correct.mean())
    figures.ece = metrics.expected_calibration_error(confidence.tolist(), correct.tolist())
    figures.identified_accuracy = float(correct[identified].mean()) if identified.any() else 0.0
    figures.unidentified_share = float(1 - identified.mean())
    figures.unidentified_by = {
        UnidentifiedReason.LOW_PROBABILITY.value: float(1 - np.mean(sure)),
        UnidentifiedReason.MEMBERS_DISAGREE.value: float(1 - np.mean(agreed)),
        UnidentifiedReason.OUT_OF_DISTRIBUTION.value: float(1 - np.mean(known)),
    }
    return identified


def _best(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The most probable primary type of each crop, an index into `PRIMARY_TYPES`, and its probability."""
    parents = probabilities @ datasets.roll_up()
    return parents.argmax(axis=1), parents.max(axis=1)


def _uncalibrated_ece(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    winner, confidence = _best(probabilities)
    return metrics.expected_calibration_error(confidence.tolist(), (winner == truth).tolist())


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
    truth, answer = crops.mask[labelled].argmax(axis=1), probabilities[labelled].argmax(axis=1)
    figures.leaf = scores.score(truth, answer, LEAF_TYPES)

    tree = datasets.roll_up()
    winner = (probabilities @ tree).argmax(axis=1)
    within = probabilities * tree.T[winner]
    share = within.max(axis=1) / within.sum(axis=1)
    subtyped = (tree.sum(axis=0) > 1)[winner] & identified
    reported = subtyped & (share >= figures.leaf_threshold)
    figures.reported_leaf_share = float(reported.sum() / max(subtyped.sum(), 1))
    best = within.argmax(axis=1)
    checkable = crops.mask[rows, best][reported & labelled]
    figures.reported_leaf_accuracy = float(checkable.mean()) if len(checkable) else 0.0
