"""Augmentation of whole batches as tensors: one affine warp, one colour transform, and a blur.

Cells have no up or down; boxes are a few pixels off; microscopes and cameras differ in scale and focus, and stains
in colour, far more between laboratories than within the one that took the training tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.crops import CONTEXT


@dataclass(frozen=True, slots=True)
class Ranges:
    """How far each property is jittered; uniform unless said otherwise.

    Attributes:
        scale: smallest and largest side seen, as a share of a served crop's side.
        shift: of the centre either way, as a share of the side.
        shear: either way, in radians.
        brightness: additive, as a share of the full range.
        contrast: log-uniform factor around each crop's mean.
        stain: standard deviation of the 3 x 3 mixing of optical densities (Tellez et al. 2019 jitter them so).
        balance: log-normal gain of each channel's optical density: stain strength and white balance.
        blur_share: share of the crops that are blurred, with a sigma of up to `blur_sigma` px.
        noise: largest standard deviation of pixel noise, as a share of the full range.
    """

    scale: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.08
    shear: float = 0.1
    brightness: float = 0.08
    contrast: float = 0.2
    stain: float = 0.06
    balance: float = 0.2
    blur_share: float = 0.3
    blur_sigma: float = 1.2
    noise: float = 0.02


class Augment:
    """Turns context crops into jittered training crops.

    Args:
        ranges: how far to jitter.
        generator: the source of all randomness; its state is part of a checkpoint.
    """

    def __init__(self, ranges: Ranges, generator: torch.Generator) -> None:
        self.ranges = ranges
        self.generator = generator

    def __call__(self, context: Tensor, side: int) -> Tensor:
        """uint8 [N, S, S, 3] context crops to float32 [N, 3, side, side] crops, pixels of 0..255."""
        pixels = context.permute(0, 3, 1, 2).float()
        crops = self._noise(self._blur(self._colour(self._warp(pixels, side))))
        return crops.clamp(0, 255).contiguous(memory_format=torch.channels_last)

    def _uniform(self, like: Tensor, low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand((len(like), *shape), generator=self.generator)
        return (low + (high - low) * values).to(like.device)

    def _normal(self, like: Tensor, *shape: int) -> Tensor:
        return torch.randn((len(like), *shape), generator=self.generator).to(like.device)

    def _warp(self, pixels: Tensor, side: int) -> Tensor:
        low, high = (math.log(bound) for bound in self.ranges.scale)
        scale = self._uniform(pixels, low, high).exp() / CONTEXT
        angle = self._uniform(pixels, 0, 2 * math.pi)
        shear = self._uniform(pixels, -self.ranges.shear, self.ranges.shear)
        mirror = torch.where(self._uniform(pixels, 0, 1) < 0.5, -1.0, 1.0)
        shift = self._uniform(pixels, -self.ranges.shift, self.ranges.shift, 2) * 2 / CONTEXT
        cos, sin = angle.cos() * scale, angle.sin() * scale
        rows = (
            torch.stack([cos * mirror, -sin + shear * cos, shift[:, 0]], dim=1),
            torch.stack([sin * mirror, cos + shear * sin, shift[:, 1]], dim=1),
        )
        # Sampled finely, then shrunk with a filter: one bilinear tap per output pixel would alias.
        fine = max(side, round(pixels.shape[-1] / CONTEXT))
        grid = functional.affine_grid(
            torch.stack(rows, dim=1), [len(pixels), 3, fine, fine], align_corners=False
        )
        warped = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        if fine == side:
            return warped
        return functional.interpolate(
            warped, size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )

    def _colour(self, pixels: Tensor) -> Tensor:
        r = self.ranges
        density = -((pixels + 1) / 256).log()
        mixing = r.stain * self._normal(pixels, 3, 3) + torch.diag_embed(
            (r.balance * self._normal(pixels, 3)).exp()
        )
        shape = density.shape
        jittered = 255 * torch.bmm(mixing, density.flatten(2)).reshape(shape).neg().clamp(max=0).exp()
        contrast = (r.contrast * self._normal(pixels, 1, 1, 1)).exp()
        brightness = 255 * self._uniform(pixels, -r.brightness, r.brightness, 1, 1, 1)
        mean = jittered.mean(dim=(1, 2, 3), keepdim=True)
        return (jittered - mean) * contrast + mean + brightness

    def _blur(self, pixels: Tensor) -> Tensor:
        chosen = self._uniform(pixels, 0, 1) < self.ranges.blur_share
        sigma = self._uniform(pixels, 0.3, self.ranges.blur_sigma)
        offsets = torch.arange(-2, 3, device=pixels.device)
        kernel = torch.exp(-offsets.square() / (2 * sigma[:, None].square()))
        kernel = torch.where(
            chosen[:, None], kernel / kernel.sum(dim=1, keepdim=True), (offsets == 0).float()
        )
        rows = kernel.repeat_interleave(3, dim=0)[:, None, :, None]
        channels, (height, width) = len(rows), pixels.shape[-2:]
        stacked = functional.pad(pixels.reshape(1, channels, height, width), (2, 2, 2, 2), mode="replicate")
        blurred = functional.conv2d(
            functional.conv2d(stacked, rows, groups=channels), rows.mT, groups=channels
        )
        return blurred.reshape(pixels.shape)

    def _noise(self, pixels: Tensor) -> Tensor:
        strength = 255 * self._uniform(pixels, 0, self.ranges.noise, 1, 1, 1)
        return pixels + strength * self._normal(pixels, *pixels.shape[1:])
