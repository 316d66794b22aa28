"""How a classifier, as it is served, does on the cells of another laboratory than the one with most cells."""

from __future__ import annotations

from typing import Final

import numpy as np

from hemaserve.cells import PRIMARY_TYPES
from hemaserve.evaluation import metrics
from hemaserve.evaluation.extra import exact_interval
from training import abstention, answers, datasets, scores
from training.answers import Answers
from training.crops import CropSet, bccd_crops, served
from training.ensemble import ENSEMBLES
from training.recipes import LITERATURE, PRESETS
from training.results import ClassifierFigures, SourceFigures
from training.settings import settings

#: Networks that never see any of the set.
_STRANGERS: Final = frozenset(recipe.name for recipe in (*LITERATURE, *PRESETS))


def bccd(figures: ClassifierFigures, side: int) -> SourceFigures:
    """The figures on BCCD's typed cells, cut `side` px wide, at the calibration and limits of `figures`.

    They are those of the validation side, or of both sides when the networks never saw any of the set.
    """
    crops = bccd_crops("val", served(side))
    never_seen = settings().without_bccd or figures.name in _STRANGERS
    if never_seen:
        crops = bccd_crops("train", served(side)).joined(crops)
    measured = measure(figures, _answers(figures, crops), crops)
    return measured.model_copy(update={"never_seen": never_seen})


def measure(figures: ClassifierFigures, said: Answers, crops: CropSet) -> SourceFigures:
    """The figures of given answers about labelled crops."""
    parents = said.at_temperature(figures.temperature) @ datasets.roll_up()
    winner, confidence = parents.argmax(axis=1), parents.max(axis=1)
    truth = datasets.primary_index(crops.mask)
    correct = winner == truth
    identified = np.asarray(
        (confidence >= figures.identify_threshold)
        & abstention.within(said.ood_scores, figures.ood_limit)
        & abstention.within(said.disagreements, figures.disagreement_limit)
    )
    count, right = int(identified.sum()), int((correct & identified).sum())
    return SourceFigures(
        primary=scores.score(truth, winner, PRIMARY_TYPES),
        unidentified_share=float(1 - identified.mean()),
        identified_accuracy=right / max(count, 1),
        identified_accuracy_ci95=exact_interval(right, count),
        ece=metrics.expected_calibration_error(confidence.tolist(), correct.tolist()),
    )


def _answers(figures: ClassifierFigures, crops: CropSet) -> Answers:
    if figures.name in ENSEMBLES:
        members = ENSEMBLES[figures.name].members
        return answers.of_vote(list(answers.opinions_of(members, crops).values()))
    return answers.of_network(answers.logits_of(figures.name, crops), figures)
