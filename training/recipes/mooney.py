"""The hybrids on the task of Altarawneh 2023: the types of whole fields of Mooney's set, split in two ways."""

from __future__ import annotations

from typing import Final

from training.augment import FIELD_RANGES
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


MOONEY: Final = tuple(
    _recipe(architecture, split) for architecture in ("hybrid_dense", "hybrid_graph") for split in Split
)
