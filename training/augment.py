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
        balance: log-normal gain of each channel's optical density: stain strength.
        tone: standard deviation of the logarithm of the exponent that optical densities are raised to: how much darker
            nuclei are than cytoplasm differs between cameras.
        veil: largest share of stray light, which takes contrast from what is dark.
        white: standard deviation of an offset of each channel's optical density: the colour of the light.
        saturation: smallest and largest share of each pixel's distance from grey that is left.
        blur_share: share of the crops that are blurred, with a sigma of up to `blur_sigma` px.
        noise: largest standard deviation of pixel noise, as a share of the full range.
        edge_share: share of the crops that look as if cut at the edge of a field, whose last pixels are repeated.
        turn: either way, in radians.
        gain: smallest and largest factor of all pixels.
        turns: turn by right angles only, for images that have nothing around them to turn into view.
    """

    scale: tuple[float, float] = (0.75, 1.3)
    shift: float = 0.08
    shear: float = 0.12
    brightness: float = 0.08
    contrast: float = 0.2
    stain: float = 0.08
    balance: float = 0.25
    tone: float = 0.3
    veil: float = 0.35
    white: float = 0.12
    saturation: tuple[float, float] = (0.5, 1.2)
    blur_share: float = 0.5
    blur_sigma: float = 2.2
    noise: float = 0.02
    edge_share: float = 0.1
    turn: float = math.pi
    gain: tuple[float, float] = (1.0, 1.0)
    turns: bool = False


#: For whole fields, whose cells are small: less blur, less change of scale.
FIELD_RANGES = Ranges(
    scale=(0.85, 1.15), shear=0.05, blur_share=0.3, blur_sigma=1.0, edge_share=0.0, turns=True
)

#: Nothing but mirrored, to be added to.
PLAIN = Ranges(
    scale=(1.0, 1.0),
    shift=0.0,
    shear=0.0,
    brightness=0.0,
    contrast=0.0,
    stain=0.0,
    balance=0.0,
    tone=0.0,
    veil=0.0,
    white=0.0,
    saturation=(1.0, 1.0),
    blur_share=0.0,
    noise=0.0,
    edge_share=0.0,
    turn=0.0,
)


class Augment:
    """Turns context crops into jittered training crops.

    Args:
        ranges: how far to jitter.
        generator: the source of all randomness; its state is part of a checkpoint.
        context: side of the crops given over that of the crops wanted.
    """

    def __init__(self, ranges: Ranges, generator: torch.Generator, context: float) -> None:
        self.ranges = ranges
        self.generator = generator
        self.context = context

    def __call__(self, context: Tensor, side: int) -> Tensor:
        """uint8 [N, S, S, 3] context crops to float32 [N, 3, side, side] crops, pixels of 0..255."""
        pixels = context.permute(0, 3, 1, 2).float()
        crops = self._noise(self._blur(self._colour(self._warp(pixels, side))))
        return crops.clamp(0, 255).contiguous(memory_format=torch.channels_last)

    def _uniform(self, like: Tensor, low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand((len(like), *shape), generator=self.generator, device=self.generator.device)
        return (low + (high - low) * values).to(like.device)

    def _normal(self, like: Tensor, *shape: int) -> Tensor:
        normal = torch.randn((len(like), *shape), generator=self.generator, device=self.generator.device)
        return normal.to(like.device)

    def _warp(self, pixels: Tensor, side: int) -> Tensor:
        low, high = (math.log(bound) for bound in self.ranges.scale)
        scale = self._uniform(pixels, low, high).exp() / self.context
        angle = self._uniform(pixels, -self.ranges.turn, self.ranges.turn)
        if self.ranges.turns:
            angle = (angle / (math.pi / 2)).floor() * (math.pi / 2)
        shear = self._uniform(pixels, -self.ranges.shear, self.ranges.shear)
        mirror = torch.where(self._uniform(pixels, 0, 1) < 0.5, -1.0, 1.0)
        shift = self._uniform(pixels, -self.ranges.shift, self.ranges.shift, 2) * 2 / self.context
        cos, sin = angle.cos() * scale, angle.sin() * scale
        rows = (
            torch.stack([cos * mirror, -sin + shear * cos, shift[:, 0]], dim=1),
            torch.stack([sin * mirror, cos + shear * sin, shift[:, 1]], dim=1),
        )
        # Sampled finely, then shrunk with a filter: one bilinear tap per output pixel would alias.
        fine = max(side, round(pixels.shape[-1] / self.context))
        grid = functional.affine_grid(
            torch.stack(rows, dim=1), [len(pixels), 3, fine, fine], align_corners=False
        )
        grid = self._at_edge(grid)
        warped = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        if fine == side:
            return warped
        return functional.interpolate(
            warped, size=(side, side), mode="bilinear", antialias=True, align_corners=False
        )

    def _at_edge(self, grid: Tensor) -> Tensor:
        """Bound one side of some sampling grids: beyond it the last pixels repeat, as in `cut_crop`."""
        chosen = self._uniform(grid, 0, 1) < self.ranges.edge_share
        side = (self._uniform(grid, 0, 4)).long()
        # From the crop's edge to a little inside of where the cell begins.
        bound = torch.where(chosen, self._uniform(grid, 0.35, 0.7) / self.context, 9.0)
        low = torch.stack([torch.where(side == axis, -bound, -9.0) for axis in (0, 1)], dim=1)
        high = torch.stack([torch.where(side == axis + 2, bound, 9.0) for axis in (0, 1)], dim=1)
        return torch.maximum(torch.minimum(grid, high[:, None, None]), low[:, None, None])

    def _colour(self, pixels: Tensor) -> Tensor:
        r = self.ranges
        density = -((pixels + 1) / 256).log()
        exponent = (r.tone * self._normal(pixels, 1, 1, 1)).exp()
        density = density.clamp(min=1e-3) ** exponent
        mixing = r.stain * self._normal(pixels, 3, 3) + torch.diag_embed(
            (r.balance * self._normal(pixels, 3)).exp()
        )
        shape = density.shape
        offset = r.white * self._normal(pixels, 3, 1).abs()
        jittered = (
            255 * (torch.bmm(mixing, density.flatten(2)) + offset).reshape(shape).neg().clamp(max=0).exp()
        )
        veil = self._uniform(pixels, 0, r.veil, 1, 1, 1) ** 2 / r.veil if r.veil else 0.0
        jittered = jittered * (1 - veil) + 255 * veil * self._uniform(pixels, 0.6, 1.0, 3, 1, 1)
        grey = jittered.mean(dim=1, keepdim=True)
        jittered = grey + (jittered - grey) * self._uniform(pixels, *r.saturation, 1, 1, 1)
        contrast = (r.contrast * self._normal(pixels, 1, 1, 1)).exp()
        brightness = 255 * self._uniform(pixels, -r.brightness, r.brightness, 1, 1, 1)
        mean = jittered.mean(dim=(1, 2, 3), keepdim=True)
        return ((jittered - mean) * contrast + mean + brightness) * self._uniform(pixels, *r.gain, 1, 1, 1)

    def _blur(self, pixels: Tensor) -> Tensor:
        if not self.ranges.blur_share:
            return pixels
        chosen = self._uniform(pixels, 0, 1) < self.ranges.blur_share
        sigma = self._uniform(pixels, 0.3, self.ranges.blur_sigma)
        offsets = torch.arange(-3, 4, device=pixels.device)
        kernel = torch.exp(-offsets.square() / (2 * sigma[:, None].square()))
        kernel = torch.where(
            chosen[:, None], kernel / kernel.sum(dim=1, keepdim=True), (offsets == 0).float()
        )
        rows = kernel.repeat_interleave(3, dim=0)[:, None, :, None]
        channels, (height, width) = len(rows), pixels.shape[-2:]
        stacked = functional.pad(pixels.reshape(1, channels, height, width), (3, 3, 3, 3), mode="replicate")
        blurred = functional.conv2d(
            functional.conv2d(stacked, rows, groups=channels), rows.mT, groups=channels
        )
        return blurred.reshape(pixels.shape)

    def _noise(self, pixels: Tensor) -> Tensor:
        if not self.ranges.noise:
            return pixels
        strength = 255 * self._uniform(pixels, 0, self.ranges.noise, 1, 1, 1)
        return pixels + strength * self._normal(pixels, *pixels.shape[1:])
