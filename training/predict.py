"""Run a network over crops, and the few sums that every figure starts from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training import datasets
from training.architectures import Normalise

_BATCH = 128


@torch.inference_mode()
def predict_logits(network: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [N, S, S, 3] RGB crops to float32 [N, leaves] logits."""
    normalise, device = Normalise(), next(network.parameters()).device
    rows = []
    for start in range(0, len(crops), _BATCH):
        pixels = torch.from_numpy(np.array(crops[start : start + _BATCH])).to(device)
        # NHWC memory seen as NCHW is what PyTorch calls channels last: nothing is copied.
        rows.append(network(normalise(pixels.permute(0, 3, 1, 2))).float().cpu().numpy())
    return np.concatenate(rows)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """[N, leaves] probabilities of logits / temperature."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def primary_accuracy(scores: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Share of the crops whose most probable primary type is the labelled one, from logits [N, leaves]."""
    parents = softmax(scores) @ datasets.roll_up()
    return float((parents.argmax(axis=1) == datasets.primary_index(mask)).mean())
