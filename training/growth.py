"""A network begins as a smaller one of its kind: wider and deeper, and at first the same function (Net2Net, Chen et al.
2016, arXiv 1511.05641).

What the smaller one has learned keeps its place. Channels that are new begin as any network's do, and nothing that was
there before listens to them yet; layers that are new add nothing to what passes them by. So training goes on from the
smaller one's accuracy instead of from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

#: What a block of EfficientNet ends in, by its name in timm: the first of these that it has.
_LAST_NORMS: Final = ("bn3", "bn2")


@torch.no_grad()
def grow(network: nn.Module, smaller: Mapping[str, Tensor]) -> None:
    """Give `network` the function of a smaller network.

    Args:
        network: untrained; its layers that the smaller one does not have are blocks with a way around them.
        smaller: the other one's state: the same names, and shapes that are nowhere larger.

    Raises:
        ValueError: it is no smaller network of this kind.
    """
    state = network.state_dict()
    if unknown := sorted(smaller.keys() - state.keys()):
        raise ValueError(f"the smaller network has {unknown[0]}, which this one has not")
    for name, old in smaller.items():
        new = state[name]
        if new.ndim != old.ndim or any(a < b for a, b in zip(new.shape, old.shape, strict=True)):
            raise ValueError(
                f"{name} has shape {tuple(new.shape)}, in the smaller network {tuple(old.shape)}"
            )
        if new.ndim > 1:
            new[: len(old)] = 0
        new[tuple(map(slice, old.shape))] = old
    for name, module in network.named_modules():
        last = next((getattr(module, norm) for norm in _LAST_NORMS if hasattr(module, norm)), None)
        if last is not None and not any(known.startswith(f"{name}.") for known in smaller):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
