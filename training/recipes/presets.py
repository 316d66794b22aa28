"""The papers' own recipes, so that they can be set beside ours on the same crops. None of these networks serves.

A preset says what its paper says of input size, normalisation, split, augmentation and schedule; where a paper is
silent, it has this factory's defaults. Four things cannot be had as the papers had them, and are the same for all:

- Crops are cut around the detector's boxes, as for every network here; the papers shrink whole tiles.
- ImageNet weights. Bodies that a paper fine-tunes start from nothing. Bodies that a paper freezes are those that
  `training.recipes.literature` trained, with a new head.
- Heads. Every network ends in dropout, the mean of its map and one linear layer, and `hybrid_dense` in a dense layer
  beside it; no paper's stack of dense layers is repeated.
- What a paper calls its test images is PBC's published test part; these networks are measured on ``val``, like all.

Sources: Hussien & Kareem 2025 (VGG19, Xception, U-Net and their ensemble: 64 px, 80:20 and 90:10, two phases with
cosine annealing and early stopping); Altarawneh 2023 (64 px, CNN and dense layer); AL-Badareen et al. 2024 (224 px,
frozen bodies with new heads); Bhavana & Balakrishna (Xception at 128 px, EfficientNets at 300 px; their detectors,
YOLOv5x6 at 416 px and YOLOv8, are in `training.detector`).
"""

from __future__ import annotations

from dataclasses import replace
from math import radians
from typing import Final

from training.augment import PLAIN
from training.recipes.recipe import Recipe
from training.tasks import types_task

#: The paper has turns of 20 to 30 degrees, shifts of 0.1 to 0.2, shear, zoom, flips, brightness of 0.8 to 1.2. Here
#: each is drawn up to the middle of its range; shear and zoom, of which it gives none, as far; and crops are mirrored.
_HUSSIEN_RANGES: Final = replace(
    PLAIN, turn=radians(25), shift=0.15, shear=0.15, scale=(0.85, 1.15), gain=(0.8, 1.2)
)


def _hussien(network: str, held_out_share: float) -> Recipe:
    ratio = round(100 * (1 - held_out_share))
    return Recipe(
        f"hussien2025_{network}_{ratio}",
        12,
        small_px=64,
        side_px=64,
        joint_epochs=8,
        joint_rate=0.1,
        task=types_task(held_out_share, others=False),
        architecture={"xception": "xception_full", "unet": "unet_wide"}.get(network, network),
        normalisation="min-max",
        batch=64,
        learning_rate=1e-3,
        balance=0.0,
        patience=5,
        ranges=_HUSSIEN_RANGES,
    )


def _albadareen(network: str) -> Recipe:
    """Its body has seen most of the crops that are held out here: what counts is its accuracy on val."""
    return Recipe(
        f"albadareen2024_{network}",
        6,
        small_px=224,
        side_px=224,
        task=types_task(0.2, others=False),
        architecture=network,
        start=network,
        frozen=True,
        learning_rate=1e-3,
        balance=0.0,
        ranges=PLAIN,
    )


def _bhavana(network: str, architecture: str, side_px: int, epochs: int) -> Recipe:
    return Recipe(
        f"bhavana_{network}",
        epochs,
        small_px=side_px,
        side_px=side_px,
        task=types_task(0.2, others=False),
        architecture=architecture,
        normalisation="rescale",
        learning_rate=1e-3,
        balance=0.0,
        ranges=replace(PLAIN, turn=radians(20), scale=(0.9, 1.1)),
    )


PRESETS: Final = (
    *(_hussien(network, share) for share in (0.2, 0.1) for network in ("vgg19", "xception", "unet")),
    Recipe(
        "altarawneh2023_hybrid_dense",
        20,
        small_px=64,
        side_px=64,
        task=types_task(0.2, others=False),
        architecture="hybrid_dense",
        normalisation="rescale",
        learning_rate=1e-3,
        balance=0.0,
        ranges=PLAIN,
    ),
    *(_albadareen(network) for network in ("squeezenet", "inceptionv3", "resnet50")),
    _bhavana("xception", "xception_full", 128, 10),
    _bhavana("efficientnet_b0", "efficientnet_b0", 300, 8),
    _bhavana("efficientnet_b2", "efficientnet_b2", 300, 6),
    _bhavana("efficientnet_b3", "efficientnet_b3", 300, 6),
)
