"""A vision transformer on a convolutional stem."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architectures.classifier import Classifier, grid_of
from training.architectures.published import efficientnet_lite0_body


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
        queries, keys, values = self._heads(x)
        return self._join(functional.scaled_dot_product_attention(queries, keys, values))

    def attended(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward` outside training, with the attention [N, tokens, tokens], the mean of the heads'."""
        queries, keys, values = self._heads(self.norm_attention(x))
        attention = torch.softmax(queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5, dim=3)
        x = x + self.scale_attention * self._join(attention @ values)
        return x + self.scale_mlp * self.mlp(self.norm_mlp(x)), attention.mean(dim=1)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, tokens, width = x.shape
        qkv = self.qkv(x).reshape(-1, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return qkv[0], qkv[1], qkv[2]

    def _join(self, attended: Tensor) -> Tensor:
        projected: Tensor = self.project(attended.transpose(1, 2).flatten(2))
        return projected

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        return branch * (branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep) / keep)


class VisionTransformerBody(nn.Module):
    """A ViT on the feature map of a convolutional network, the paper's hybrid (Dosovitskiy et al. 2021, section 3.1).

    The first three stages of EfficientNet-Lite0, with their ImageNet weights, make 12 x 12 places of a 96 px crop; a
    strided convolution makes 6 x 6 tokens of them. No pretrained ViT can be had, and one that starts from nothing
    learns too little from ten thousand crops.
    """

    def __init__(
        self, side: int, width: int = 256, depth: int = 6, heads: int = 4, drop_path: float = 0.1
    ) -> None:
        super().__init__()
        body: Any = efficientnet_lite0_body()
        self.stem = nn.Sequential(body.conv_stem, body.bn1, *body.blocks[:3])
        self.patches = nn.Conv2d(40, width, 3, stride=2, padding=1)
        self.grid = side // 16
        self.position = nn.Parameter(torch.zeros(1, width, self.grid, self.grid))
        nn.init.trunc_normal_(self.position, std=0.02)
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, rate) for rate in rates))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        tokens, side = self._tokens(x)
        return grid_of(self.norm(self.blocks(tokens)), side)

    def rolled_out(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with how much of each place [N, tokens, places] is in each token by the end.

        Attention roll-out (Abnar & Zuidema 2020): the product over the blocks of the mean of attention and identity.
        Its rows sum to 1.
        """
        tokens, side = self._tokens(x)
        rollout = identity = torch.eye(side * side, device=tokens.device)
        for block in self.blocks:
            tokens, attention = block.attended(tokens)
            rollout = (attention + identity) / 2 @ rollout
        return grid_of(self.norm(tokens), side), rollout

    def _tokens(self, x: Tensor) -> tuple[Tensor, int]:
        patches = self.patches(self.stem(x))
        position: Tensor = self.position
        if patches.shape[-1] != self.grid:
            position = functional.interpolate(position, size=patches.shape[-2:], mode="bicubic")
        return (patches + position).flatten(2).transpose(1, 2), patches.shape[-1]


class VisionTransformer(Classifier):
    """A classifier that follows its evidence back from the last block's tokens to the places that they are made of."""

    def explained(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features, rollout = self.body.rolled_out(self.normalise(pixels))
        evidence = (self.evidence(features).flatten(2) @ rollout).unflatten(2, features.shape[2:])
        return self.logits(features), evidence


def hybrid_vision_transformer(classes: int, side: int) -> Classifier:
    """The ViT on a convolutional stem, for crops of `side` px."""
    width = 256
    return VisionTransformer(VisionTransformerBody(side, width), width, classes, dropout=0.0)
