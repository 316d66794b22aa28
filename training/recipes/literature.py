"""How the networks of the literature are trained by our own recipe: from nothing, with the teacher's answers.

They see PBC alone, so that each has one set of weights, and any other laboratory stays a stranger to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from training.crops import CROP_PX
from training.recipes.recipe import Recipe
from training.tasks import PBC_TYPES

#: Side in px of the networks that halve their maps five times: at 96 px three places a side would be left.
_WIDE_PX: Final = 128


def _recipe(name: str, epochs: int, side_px: int = CROP_PX, **others: Any) -> Recipe:
    recipe = Recipe(
        name,
        epochs,
        small_px=side_px,
        side_px=side_px,
        task=PBC_TYPES,
        batch=128,
        patience=epochs,
        teacher="efficientnet-base",
    )
    return replace(recipe, **others)


def _small(name: str, epochs: int, side_px: int = CROP_PX, **others: Any) -> Recipe:
    """Of a network that two CPU cores can train: on small crops for most of the time."""
    return _recipe(name, epochs, side_px, small_px=64, small_share=0.7, batch=64, **others)


def _grown(name: str) -> Recipe:
    """Of a network that begins as EfficientNet-B0, and has most of the way behind it.

    Gently, on crops of its own size: after two epochs at 1e-3 on crops of 96 px, B2 had 91% of the held-out crops right
    at 128 px, where B0 has 97%.
    """
    return _recipe(
        name,
        2,
        _WIDE_PX,
        batch=64,
        learning_rate=4e-4,
        ema=0.99,
        storage="int8",
        grown_from="efficientnet_b0",
    )


LITERATURE: Final = (
    _recipe("vgg19", 12, learning_rate=1e-3, storage="int8"),
    _recipe("resnet50", 12, _WIDE_PX, storage="int8"),
    # The first phases of these two were cut short on a GPU; the average follows the second more closely, as there is
    # little of it.
    _recipe("inceptionv3", 11, storage="int8", joint_epochs=2, joint_rate=0.15, ema=0.99),
    _recipe("efficientnet_b0", 11, _WIDE_PX, storage="int8", joint_epochs=18, joint_rate=0.3, ema=0.99),
    _grown("efficientnet_b2"),
    _grown("efficientnet_b3"),
    _small("unet", 8, joint_epochs=36, joint_rate=0.6),
    _small("squeezenet", 18),
    # As in its paper; its dense layer has a weight for every place, so that no other size fits.
    _small("hybrid_dense", 9, 64, joint_epochs=24, joint_rate=0.5),
    _small("hybrid_graph", 12, joint_epochs=8),
)
