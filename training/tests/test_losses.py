"""The losses over the tree of types."""

import numpy as np
import pytest
import torch

from hemaserve.cells import LEAF_TYPES, CellType
from training.datasets import leaf_mask, roll_up
from training.losses import TreeLoss, roll_up_nll


def _log_probabilities(**shares: float) -> torch.Tensor:
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
    loss = TreeLoss(roll_up(), smoothing=0.0)
    sibling = loss(_log_probabilities(neutrophil_segmented=0.9), mask)
    stranger = loss(_log_probabilities(monocyte=0.9), mask)
    assert sibling < stranger


def test_a_teacher_that_agrees_adds_nothing():
    logits = torch.randn(4, len(LEAF_TYPES))
    mask = torch.from_numpy(leaf_mask([CellType.BASOPHIL] * 4))
    loss = TreeLoss(roll_up(), teacher_weight=1.0)
    assert loss(logits, mask, logits).item() == pytest.approx(0, abs=1e-5)
    assert loss(logits, mask, logits.flip(1)).item() > 0


def test_an_impossible_label_costs_much_and_stays_finite():
    mask = torch.from_numpy(leaf_mask([CellType.MONOCYTE]))
    certain = torch.full((1, len(LEAF_TYPES)), -1e3)
    certain[0, LEAF_TYPES.index(CellType.BASOPHIL)] = 1e3
    loss = TreeLoss(roll_up())(certain.requires_grad_(), mask)
    loss.backward()
    assert loss.isfinite()
    assert loss > 100
    assert certain.grad.isfinite().all()


def test_smoothing_makes_certainty_dearer():
    mask = torch.from_numpy(leaf_mask([CellType.MONOCYTE]))
    certain = _log_probabilities(monocyte=0.99999)
    assert TreeLoss(roll_up(), smoothing=0.2)(certain, mask) > TreeLoss(roll_up(), smoothing=0.0)(
        certain, mask
    )


def test_without_a_tree_the_loss_is_twice_the_cross_entropy():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 1, 0])
    mask = torch.eye(3, dtype=torch.bool)[labels]
    loss = TreeLoss(np.eye(3, dtype=np.float32), smoothing=0.0)(logits, mask)
    expected = 2 * torch.nn.functional.cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_teacher_is_listened_to_by_its_weight():
    generator = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 6, len(LEAF_TYPES), generator=generator)
    mask = torch.from_numpy(leaf_mask([CellType.BASOPHIL] * 6))
    alone = TreeLoss(roll_up())(logits, mask)
    followed = TreeLoss(roll_up(), teacher_weight=1.0)(logits, mask, teacher)
    half = TreeLoss(roll_up(), teacher_weight=0.5)(logits, mask, teacher)
    assert half.item() == pytest.approx((alone.item() + followed.item()) / 2, rel=1e-5)
