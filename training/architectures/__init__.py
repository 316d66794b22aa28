"""The classifiers' networks: a registry of name, title and builder.

Every network takes pixels of 0..255 [N, 3, S, S] RGB, normalises them itself, and answers float [N, classes] logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch

from training.architectures import hybrid, published, squeezenet, unet, vision_transformer, xception
from training.architectures.classifier import NORMALISATIONS, Classifier, parameters_of

__all__ = ["ARCHITECTURES", "Architecture", "Classifier", "build", "parameters_of"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network that can be trained.

    Attributes:
        name: its name in recipes, and in the model repository where no recipe has another.
        title: the name that people read.
        build: makes the untrained network for a number of classes and a side of crops in pixels.
        tolerance: largest difference of its exported file from torch, see `training.onnx_graph.check_parity`; default:
            as rounded weights explain.
    """

    name: str
    title: str
    build: Callable[[int, int], Classifier]
    tolerance: float | None = None


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            Architecture("efficientnet", "EfficientNet-Lite0", published.efficientnet_lite0),
            Architecture("xception", "Slim Xception", xception.slim_xception),
            Architecture(
                "vit",
                "Hybrid vision transformer, 16 px patches",
                vision_transformer.hybrid_vision_transformer,
            ),
            Architecture(
                "leukemia_cell", "Leukemia screen of cells, EfficientNet-Lite0", published.efficientnet_lite0
            ),
            Architecture(
                "leukemia_field",
                "Leukemia screen of fields, EfficientNet-Lite0",
                published.efficientnet_lite0,
            ),
            Architecture("vgg19", "VGG-19", published.vgg19),
            Architecture("unet", "U-Net as a classifier", unet.unet),
            Architecture("resnet50", "ResNet-50", published.resnet50),
            Architecture("inceptionv3", "Inception-v3", published.inceptionv3),
            Architecture("squeezenet", "SqueezeNet", squeezenet.squeezenet),
            Architecture("efficientnet_b0", "EfficientNet-B0", published.efficientnet_b0),
            Architecture("efficientnet_b2", "EfficientNet-B2", published.efficientnet_b2),
            Architecture("efficientnet_b3", "EfficientNet-B3", published.efficientnet_b3),
            Architecture("hybrid_dense", "CNN with a dense layer beside it", hybrid.dense_hybrid),
            # Which neighbours a node hears is all or nothing: rounding exchanges some, here on random pixels.
            Architecture("hybrid_graph", "CNN with a graph network beside it", hybrid.graph_hybrid, 0.15),
            Architecture("unet_wide", "U-Net as a classifier, half as wide again", unet.unet_wide),
            Architecture("xception_full", "Xception", published.xception_full),
        )
    }
)


def build(name: str, classes: int, side: int, normalisation: str = "standardise") -> Classifier:
    """The network before training, answering one logit per class.

    Args:
        name: in `ARCHITECTURES`.
        classes: number of logits.
        side: of the crops, in pixels.
        normalisation: in `NORMALISATIONS`.

    Raises:
        KeyError: no architecture, or no normalisation, has that name.
    """
    network = ARCHITECTURES[name].build(classes, side)
    network.normalise = NORMALISATIONS[normalisation]()
    # An overload that torch's stubs lack for modules; twice as fast on a CPU.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
