"""The U-Net as a classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.architectures.classifier import Classifier, conv_block


class UNet(nn.Module):
    """Encoder and decoder with skip connections (Ronneberger et al. 2015), at a quarter of their width.

    Pixels [N, 3, S, S] to features [N, width, S / 4, S / 4]: S is a multiple of 16, and the decoder's map at full size
    is averaged over squares of 4 px, which leaves its mean as it is.
    """

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        inputs = [3, *widths]
        self.down = nn.ModuleList(_double(inputs[level], widths[level]) for level in range(depth + 1))
        self.halve = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in range(depth)
        )
        self.join = nn.ModuleList(_double(2 * widths[level], widths[level]) for level in range(depth))
        self.gather = nn.AvgPool2d(4)

    def forward(self, x: Tensor) -> Tensor:
        skipped = []
        for level, down in enumerate(self.down):
            x = down(self.halve(x) if level else x)
            skipped.append(x)
        for level in reversed(range(len(self.up))):
            x = self.join[level](torch.cat([skipped[level], self.up[level](x)], dim=1))
        gathered: Tensor = self.gather(x)
        return gathered


def unet(classes: int, side: int) -> Classifier:  # noqa: ARG001 - takes any multiple of 16
    """The encoder-decoder, its map averaged for a linear head."""
    return _classifier(classes, 16)


def unet_wide(classes: int, side: int) -> Classifier:  # noqa: ARG001
    """The same with one and a half times as many channels."""
    return _classifier(classes, 24)


def _classifier(classes: int, width: int) -> Classifier:
    return Classifier(UNet(width), width, classes, dropout=0.0)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv_block(inputs, outputs), conv_block(outputs, outputs))
