"""The hybrids on the task of Altarawneh 2023: the types of whole fields of Mooney's set, split in two ways.

By our recipe, and by the paper's, which changes nothing about the fields but mirrors them: what a network can gain by
remembering fields, it gains there.
"""

from __future__ import annotations

from typing import Final

from training.augment import FIELD_RANGES, PLAIN
from training.mooney import Split, mooney_task
from training.recipes.recipe import Recipe


def _recipe(architecture: str, split: Split) -> Recipe:
    return Recipe(
        f"mooney_{architecture}_{split}",
        20,
        small_px=96,
        task=mooney_task(split),
        architecture=architecture,
        batch=128,
        learning_rate=1e-3,
        ranges=FIELD_RANGES,
    )


def _as_published(split: Split) -> Recipe:
    return Recipe(
        f"mooney_altarawneh2023_{split}",
        10,
        small_px=64,
        side_px=64,
        task=mooney_task(split),
        architecture="hybrid_dense",
        normalisation="rescale",
        learning_rate=1e-3,
        balance=0.0,
        patience=10,
        ranges=PLAIN,
    )


MOONEY: Final = (
    *(_recipe(architecture, split) for architecture in ("hybrid_dense", "hybrid_graph") for split in Split),
    *(_as_published(split) for split in Split),
)
