"""Run a network over crops, and the few sums that every figure starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from training.settings import settings

_BATCH = 128


@torch.inference_mode()
def predict_logits(network: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [N, S, S, 3] RGB crops to float32 [N, leaves] logits."""
    device = next(network.parameters()).device
    mixed = settings().mixes_precision(device.type)
    rows = []
    for start in range(0, len(crops), _BATCH):
        pixels = torch.from_numpy(np.array(crops[start : start + _BATCH])).to(device)
        # NHWC memory seen as NCHW is what PyTorch calls channels last: nothing is copied.
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            rows.append(network(pixels.permute(0, 3, 1, 2)).float().cpu().numpy())
    return np.concatenate(rows)


def predict_exported(path: Path, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """uint8 [N, S, S, 3] RGB crops to the probabilities [N, leaves] and scores [N] of an exported classifier.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist, and the network was not trained here")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = [
        session.run(["probabilities", "ood_score"], {"crops": np.array(crops[start : start + _BATCH])})
        for start in range(0, len(crops), _BATCH)
    ]
    probabilities, scores = (np.concatenate(part).astype(np.float64) for part in zip(*rows, strict=True))
    return probabilities, scores[:, 0]


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """[N, leaves] probabilities of logits / temperature."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def parent_accuracy(logits: NDArray[np.float32], mask: NDArray[np.bool_], tree: NDArray[np.float32]) -> float:
    """Share of the crops whose most probable parent is the labelled one.

    Args:
        logits: [N, leaves].
        mask: bool [N, leaves], the leaves that each label allows.
        tree: 0/1 [leaves, parents], see `datasets.roll_up`.
    """
    return float(((softmax(logits) @ tree).argmax(axis=1) == (mask @ tree).argmax(axis=1)).mean())
