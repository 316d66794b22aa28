"""Temperature scaling (Guo et al. 2017): make the probabilities mean what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training import abstention, answers
from training.answers import Answers, Floats
from training.checkpoints import training_run
from training.crops import CropSet
from training.ensemble import ENSEMBLES, proper_subsets, subset_name
from training.recipes import RECIPES
from training.results import CalibrationFigures, ClassifierFigures

log = logging.getLogger(__name__)


def calibration_crops(name: str) -> CropSet:
    """The served crops that a network, or the members of an ensemble, were not trained on."""
    recipe = RECIPES[answers.recipe_of(name)]
    return recipe.task.load(recipe.side_px).held_out


def calibrate(name: str) -> ClassifierFigures:
    """Fit the temperature and the limit on the out-of-distribution score of a network, or of the ensemble's vote.

    The ensemble is calibrated once more for every subset of its members, for when the others do not answer. All goes
    into the network's figures.
    """
    held_out = calibration_crops(name)
    figures = ClassifierFigures(name=name, calibration_crops=len(held_out))
    if name in ENSEMBLES:
        members = ENSEMBLES[name].members
        opinions = answers.opinions_of(members, held_out)
        _fit(figures, answers.of_vote(list(opinions.values())), held_out.mask)
        for subset in proper_subsets(members):
            fitted = figures.subsets[subset_name(subset)] = CalibrationFigures()
            _fit(fitted, answers.of_vote([opinions[member] for member in subset]), held_out.mask)
    else:
        figures.training = training_run(name)
        logits = answers.logits_of(name, held_out)
        energies = abstention.energy(logits)
        figures.energy_mean, figures.energy_deviation = float(energies.mean()), float(energies.std())
        _fit(figures, answers.of_network(logits, figures), held_out.mask)
    figures.write()
    log.info("%s: temperature %.4f on %d crops", name, figures.temperature, len(held_out))
    return figures


def _fit(figures: CalibrationFigures, said: Answers, mask: NDArray[np.bool_]) -> None:
    figures.temperature = fit_temperature(said.at_temperature, mask)
    figures.ood_limit = abstention.limit_tripped_by(said.ood_scores, abstention.OOD_SHARE)


def fit_temperature(
    at_temperature: Callable[[float], Floats], mask: NDArray[np.bool_], steps: int = 40
) -> float:
    """The temperature in 0.2 to 5 with the least roll-up NLL, by golden-section search on its logarithm.

    Args:
        at_temperature: probabilities [N, leaves] at a temperature.
        mask: bool [N, leaves], the leaves each label allows.
    """

    def loss(log_temperature: float) -> float:
        allowed = (at_temperature(float(np.exp(log_temperature))) * mask).sum(axis=1)
        return float(-np.log(np.maximum(allowed, 1e-12)).mean())

    ratio = (np.sqrt(5) - 1) / 2
    low, high = float(np.log(0.2)), float(np.log(5.0))
    for _ in range(steps):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
