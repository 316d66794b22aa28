"""How the networks that serve by default are trained, and those of the leukemia screen."""

from __future__ import annotations

from typing import Final

from training import screen
from training.augment import FIELD_RANGES
from training.recipes.recipe import Recipe
from training.tasks import PBC_TYPES

SERVING: Final = (
    Recipe("efficientnet", 9, small_px=64, joint_epochs=2, head_steps=60, learning_rate=8e-4),
    # The teacher of the networks of the literature, which are to know nothing of any other laboratory.
    Recipe(
        "efficientnet-base",
        16,
        small_px=96,
        architecture="efficientnet",
        task=PBC_TYPES,
        head_steps=60,
        batch=128,
        learning_rate=1.2e-3,
    ),
    Recipe("xception-base", 20, small_px=64, small_share=0.7, architecture="xception"),
    Recipe(
        "xception",
        4,
        small_px=64,
        joint_epochs=1,
        others_share=0.2,
        start="xception-base",
        teacher="efficientnet",
    ),
    Recipe(
        "vit",
        7,
        small_px=64,
        joint_epochs=1,
        others_share=0.2,
        learning_rate=8e-4,
        teacher="efficientnet",
    ),
    Recipe(
        "leukemia_field",
        12,
        small_px=96,
        side_px=screen.FIELD_PX,
        task=screen.FIELD_TASK,
        batch=32,
        head_steps=40,
        learning_rate=6e-4,
        ranges=FIELD_RANGES,
    ),
    Recipe("leukemia_cell", 4, small_px=64, task=screen.CELL_TASK, head_steps=40, learning_rate=6e-4),
)
