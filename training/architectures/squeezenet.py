"""SqueezeNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.architectures.classifier import Classifier


class Fire(nn.Module):
    """Squeezes to few channels, expands by 1x1 and 3x3 convolutions; a bypass where the widths agree.

    Iandola et al. 2016, figures 1 and 2 (middle). Batch normalisation is not in the paper: without it, training from
    nothing on ten thousand crops does not get under way.
    """

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.Conv2d(inputs, squeezed, 1, bias=False), nn.BatchNorm2d(squeezed), nn.ReLU()
        )
        self.point = nn.Conv2d(squeezed, expanded, 1, bias=False)
        self.square = nn.Conv2d(squeezed, expanded, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(2 * expanded)
        self.bypass = inputs == 2 * expanded

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x)
        expanded: Tensor = self.norm(torch.cat([self.point(squeezed), self.square(squeezed)], dim=1))
        return torch.relu(x + expanded if self.bypass else expanded)


def squeezenet(classes: int, side: int) -> Classifier:  # noqa: ARG001 - takes any side
    """SqueezeNet 1.1 (Iandola et al. 2016) with simple bypass; its map has a sixteenth of the crop's side."""
    body = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2, padding=1),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2, padding=1),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )
    return Classifier(body, 512, classes)
