"""A slim Xception."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.architectures.classifier import Classifier


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


class SlimXception(Classifier):
    """Xception (Chollet 2017, figure 5) at about a fifth of its width and half of its middle flow.

    At 96 px the maps are 48, 24, 12 and 6 px wide, against 19 px of the middle flow at the paper's 299 px.
    """

    def __init__(self, classes: int, middle_blocks: int = 4, dropout: float = 0.2) -> None:
        stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
        )
        entry = nn.Sequential(XceptionBlock(32, 64, 2, stride=2), XceptionBlock(64, 160, 2, stride=2))
        middle = nn.Sequential(*(XceptionBlock(160, 160, 3) for _ in range(middle_blocks)))
        last = nn.Sequential(
            XceptionBlock(160, 256, 2, stride=2),
            SeparableConv(256, 384),
            nn.ReLU(),
            SeparableConv(384, 512),
            nn.ReLU(),
        )
        super().__init__(nn.Sequential(stem, entry, middle, last), 512, classes, dropout)


def slim_xception(classes: int, side: int) -> Classifier:  # noqa: ARG001 - takes any side
    """Xception at about a fifth of its width."""
    return SlimXception(classes)
