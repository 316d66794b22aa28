"""What all classifiers have in common: pixels in, logits out, and what each place of a crop adds to them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from torch import Tensor, nn
from torch.nn import functional


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


class MinMax(nn.Module):
    """Pixels of 0..255 [N, 3, H, W] to float32 of 0..1 over each image, as papers on this task do."""

    def forward(self, pixels: Tensor) -> Tensor:
        lowest = pixels.float().amin(dim=(1, 2, 3), keepdim=True)
        highest = pixels.float().amax(dim=(1, 2, 3), keepdim=True)
        # A flat image has nothing to stretch.
        return (pixels.float() - lowest) / (highest - lowest).clamp(min=1.0)


class Rescale(nn.Module):
    """Pixels of 0..255 to float32 of 0..1, the same for all images."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.float() / 255


#: How pixels may be normalised in front of a network, by the name in recipes.
NORMALISATIONS: Final = MappingProxyType({"standardise": Standardise, "min-max": MinMax, "rescale": Rescale})


class Classifier(nn.Module):
    """A body that makes a feature map, and a linear head on the map's mean.

    Args:
        body: normalised pixels [N, 3, S, S] to features [N, width, h, w].
        width: of the features that the head sees.
        classes: number of logits.
        dropout: share of the features that the head does without in training.
    """

    def __init__(self, body: nn.Module, width: int, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.normalise: nn.Module = Standardise()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels of 0..255 [N, 3, S, S] to logits float [N, classes]."""
        return self.logits(self.features(pixels))

    def explained(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and the evidence float [N, classes, h, w] for them: what each place adds to each logit."""
        features = self.features(pixels)
        return self.logits(features), self.evidence(features)

    def features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.body(self.normalise(pixels))
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(features.mean(dim=(2, 3))))
        return logits

    def evidence(self, features: Tensor) -> Tensor:
        """What each place adds to each logit, [N, classes, h, w]: the logit is its mean, plus the head's bias.

        The class activation map of Zhou et al. 2016, which for such networks is Grad-CAM (Selvaraju et al. 2017) but
        for a positive factor.
        """
        return functional.conv2d(features, self.head.weight[:, :, None, None])


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def parameters_of(network: nn.Module) -> int:
    """How many numbers a network has learned."""
    return sum(parameter.numel() for parameter in network.parameters())


def grid_of(tokens: Tensor, side: int) -> Tensor:
    """Tokens [N, side * side, width], row by row, as a map [N, width, side, side]."""
    return tokens.transpose(1, 2).unflatten(2, (side, side))
