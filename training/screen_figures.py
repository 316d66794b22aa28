"""Calibrate and measure the networks of the leukemia screen, and choose the probability from which they flag."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.evaluation import metrics
from hemaserve.evaluation.extra import exact_interval
from training import scores
from training.calibrate import fit_temperature
from training.checkpoints import load_trained, training_run
from training.predict import predict_logits, softmax
from training.recipes import RECIPES
from training.results import ScreenFigures

log = logging.getLogger(__name__)

#: Sensitivity that the flag should reach on the calibration and validation images together. Fields are labelled for
#: what they are; cells only by their field, and as healthy ones are among them, more would mean to flag most cells.
TARGET_SENSITIVITY: Final = {"leukemia_field": 0.995, "leukemia_cell": 0.98}


def calibrate(name: str) -> ScreenFigures:
    """Fit the temperature on the images kept out of training."""
    recipe = RECIPES[name]
    held_out = recipe.task.load(recipe.side_px).held_out
    logits = predict_logits(load_trained(name), held_out.crops)
    figures = ScreenFigures(
        name=name,
        temperature=fit_temperature(lambda temperature: softmax(logits, temperature), held_out.mask),
        calibration_images=len(held_out),
        training=training_run(name),
    )
    figures.write()
    return figures


def evaluate(name: str) -> ScreenFigures:
    """Fill in the figures from the validation split; the threshold is chosen on it and on the images kept out."""
    figures = ScreenFigures.read(name)
    network = load_trained(name)
    recipe = RECIPES[name]
    validation = recipe.task.validation(recipe.side_px)
    probabilities = softmax(predict_logits(network, validation.crops), figures.temperature)
    held_out = recipe.task.load(recipe.side_px).held_out
    others = softmax(predict_logits(network, held_out.crops), figures.temperature)
    malignant, malignant_others = ~validation.mask[:, 0], ~held_out.mask[:, 0]
    figures.flag_threshold = choose_threshold(
        1 - np.concatenate([probabilities[:, 0], others[:, 0]]),
        np.concatenate([malignant, malignant_others]),
        TARGET_SENSITIVITY[name],
    )
    flagged = 1 - probabilities[:, 0] >= figures.flag_threshold
    truth, guess = validation.mask.argmax(axis=1), probabilities.argmax(axis=1)
    figures.scores = scores.score(truth, guess, recipe.task.classes)
    figures.sensitivity = float(flagged[malignant].mean())
    figures.sensitivity_ci95 = exact_interval(int(flagged[malignant].sum()), int(malignant.sum()))
    figures.specificity = float(1 - flagged[~malignant].mean())
    figures.specificity_ci95 = exact_interval(int((~flagged & ~malignant).sum()), int((~malignant).sum()))
    figures.auroc = metrics.auroc(1 - probabilities[:, 0], malignant)
    confidence, right = probabilities.max(axis=1).tolist(), (truth == guess).tolist()
    figures.ece = metrics.expected_calibration_error(confidence, right)
    figures.reliability = metrics.reliability_bins(confidence, right)
    figures.write()
    log.info("%s", figures.model_dump_json())
    return figures


def choose_threshold(
    probability: NDArray[np.float64], malignant: NDArray[np.bool_], target: float = 0.995
) -> float:
    """The greatest threshold of three decimals, at most 0.9, that flags `target` of the malignant images.

    Args:
        probability: [N] of anything but benign.
        malignant: [N] whether the image is labelled so.
        target: sensitivity wanted, 0 to 1.
    """
    ranked = np.sort(probability[malignant])
    missed = int((1 - target) * len(ranked))
    return float(np.clip(np.floor(ranked[missed] * 1000) / 1000, 0.001, 0.9))
