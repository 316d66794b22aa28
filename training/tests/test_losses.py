"""The losses over the tree of types."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hemaserve.cells import LEAF_TYPES, CellType  # noqa: E402
from training.datasets import leaf_mask  # noqa: E402
from training.losses import TreeLoss, roll_up_nll  # noqa: E402


def _log_probabilities(**shares: float) -> "torch.Tensor":
    rest = (1 - sum(shares.values())) / (len(LEAF_TYPES) - len(shares))
    return torch.tensor([[shares.get(leaf.value, rest) for leaf in LEAF_TYPES]]).log()


def test_a_leaf_label_pays_the_usual_cross_entropy():
    log_p = _log_probabilities(monocyte=0.25)
    mask = torch.from_numpy(leaf_mask([CellType.MONOCYTE]))
    assert roll_up_nll(log_p, mask).item() == pytest.approx(-np.log(0.25), rel=1e-5)


def test_a_parent_label_pays_for_the_sum_of_its_leaves():
    log_p = _log_probabilities(promyelocyte=0.1, myelocyte=0.2, metamyelocyte=0.3)
    mask = torch.from_numpy(leaf_mask([CellType.IMMATURE_GRANULOCYTE]))
    assert roll_up_nll(log_p, mask).item() == pytest.approx(-np.log(0.6), rel=1e-5)


def test_a_parent_label_does_not_care_how_its_leaves_share():
    mask = torch.from_numpy(leaf_mask([CellType.NEUTROPHIL]))
    one = roll_up_nll(_log_probabilities(neutrophil_band=0.7, neutrophil_segmented=0.1), mask)
    other = roll_up_nll(_log_probabilities(neutrophil_band=0.4, neutrophil_segmented=0.4), mask)
    assert one.item() == pytest.approx(other.item(), rel=1e-5)


def test_a_wrong_sibling_costs_less_than_a_wrong_primary_type():
    mask = torch.from_numpy(leaf_mask([CellType.NEUTROPHIL_BAND]))
    loss = TreeLoss(smoothing=0.0)
    sibling = loss(_log_probabilities(neutrophil_segmented=0.9), mask)
    stranger = loss(_log_probabilities(monocyte=0.9), mask)
    assert sibling < stranger


def test_a_teacher_that_agrees_adds_nothing():
    logits = torch.randn(4, len(LEAF_TYPES))
    mask = torch.from_numpy(leaf_mask([CellType.BASOPHIL] * 4))
    loss = TreeLoss(teacher_weight=1.0)
    assert loss(logits, mask, logits).item() == pytest.approx(0, abs=1e-5)
    assert loss(logits, mask, logits.flip(1)).item() > 0
