"""Losses over a tree of types: some labels name a leaf, some only its parent."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

#: Keeps the logarithm of an empty sum finite.
_LOWEST: Final = -1e4


def roll_up_nll(log_probabilities: Tensor, mask: Tensor) -> Tensor:
    """-log of the summed probability of the leaves that a label allows, per example.

    For a label that names a leaf this is the usual cross entropy; for one that names a parent the network is free
    to split the parent's probability among its leaves.

    Args:
        log_probabilities: float [N, leaves].
        mask: bool [N, leaves], at least one True in each row.

    Returns:
        float [N].
    """
    return -log_probabilities.masked_fill(~mask, _LOWEST).logsumexp(dim=1)


class TreeLoss(nn.Module):
    """Roll-up NLL of the leaf plus that of the primary type, with label smoothing, and distillation if taught.

    loss = leaf + parent + smoothing * mean(-log p) and, with a teacher q at temperature t (Hinton et al. 2015),
    (1 - w) * loss + w * t^2 * KL(q_t || p_t).

    Args:
        tree: 0/1 [leaves, parents], see `datasets.roll_up`; the identity where there is no tree.
        smoothing: share of the leaf's loss that is spread over all leaves.
        teacher_weight: w.
        teacher_temperature: t.
    """

    def __init__(
        self,
        tree: NDArray[np.float32],
        smoothing: float = 0.1,
        teacher_weight: float = 0.5,
        teacher_temperature: float = 2.0,
    ) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.teacher_weight = teacher_weight
        self.teacher_temperature = teacher_temperature
        self.tree: Tensor
        self.register_buffer("tree", torch.from_numpy(tree), persistent=False)

    def forward(self, logits: Tensor, mask: Tensor, teacher_logits: Tensor | None = None) -> Tensor:
        """Mean loss, a scalar.

        Args:
            logits: float [N, leaves].
            mask: bool [N, leaves], the leaves each label allows.
            teacher_logits: float [N, leaves] of the same crops, if there is a teacher.
        """
        log_probabilities = functional.log_softmax(logits.float(), dim=1)
        parents = (mask.float() @ self.tree) > 0
        parent_mask = (parents.float() @ self.tree.T) > 0
        leaf = roll_up_nll(log_probabilities, mask)
        parent = roll_up_nll(log_probabilities, parent_mask)
        smooth = -log_probabilities.mean(dim=1)
        hard = ((1 - self.smoothing) * leaf + parent + self.smoothing * smooth).mean()
        if teacher_logits is None:
            return hard
        t = self.teacher_temperature
        soft = (
            t
            * t
            * functional.kl_div(
                functional.log_softmax(logits.float() / t, dim=1),
                functional.log_softmax(teacher_logits.float() / t, dim=1),
                reduction="batchmean",
                log_target=True,
            )
        )
        return (1 - self.teacher_weight) * hard + self.teacher_weight * soft
