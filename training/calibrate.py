"""Temperature scaling (Guo et al. 2017): make the probabilities mean what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training import crops, datasets
from training.crops import CropSet
from training.ensemble import ENSEMBLE, MEMBERS, vote
from training.predict import predict_logits, softmax
from training.results import ClassifierFigures
from training.trainer import load_trained, training_run

log = logging.getLogger(__name__)

Probabilities = NDArray[np.float64]


def calibration_crops() -> CropSet:
    """The served crops of the training tiles that no network was trained on."""
    tiles = datasets.pbc_tiles("train")
    return crops.served_crops("train").where(datasets.calibration_split([tile.cell_type for tile in tiles]))


def calibrate(name: str) -> ClassifierFigures:
    """Fit the temperature of a network or of the ensemble's vote, and store it in the network's figures."""
    held_out = calibration_crops()
    at_temperature, run = scorer(name, held_out), None
    if name != ENSEMBLE:
        run = training_run(name)
    temperature = fit_temperature(at_temperature, held_out.mask)
    figures = ClassifierFigures(
        name=name, temperature=temperature, calibration_crops=len(held_out), training=run
    )
    figures.write()
    log.info("%s: temperature %.4f on %d crops", name, temperature, len(held_out))
    return figures


def scorer(name: str, crop_set: CropSet) -> Callable[[float], Probabilities]:
    """The probabilities [N, leaves] of a network, or of the vote, as a function of its temperature."""
    if name == ENSEMBLE:
        members = [scorer(member, crop_set)(ClassifierFigures.read(member).temperature) for member in MEMBERS]
        return lambda temperature: vote(members, temperature)
    logits = predict_logits(load_trained(name), crop_set.crops)
    return lambda temperature: softmax(logits, temperature)


def fit_temperature(
    at_temperature: Callable[[float], Probabilities], mask: NDArray[np.bool_], steps: int = 40
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


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by their size (Guo et al. 2017)."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = (
        abs(confidence[which == index].mean() - correct[which == index].mean()) * (which == index).mean()
        for index in np.unique(which)
    )
    return float(sum(gaps))
