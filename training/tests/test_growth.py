"""A grown network says what the smaller one said, and has room to learn more."""

import pytest
import torch
from torch import nn

from training.architectures import build
from training.growth import grow

SIDE, CLASSES = 64, 5


@pytest.fixture(scope="module")
def smaller():
    torch.manual_seed(1)
    network = build("efficientnet_b0", CLASSES, SIDE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as training leaves them
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


@pytest.fixture(params=["efficientnet_b2", "efficientnet_b3"])
def grown(request, smaller):
    network = build(request.param, CLASSES, SIDE)
    grow(network, smaller.state_dict())
    return network.eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 255


def test_it_says_what_the_smaller_one_said(smaller, grown, pixels):
    with torch.no_grad():
        said, says = smaller(pixels), grown(pixels)
    assert said.std() > 0.01
    torch.testing.assert_close(says, said, atol=1e-5, rtol=1e-4)


def test_what_is_new_in_it_learns(grown, pixels):
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in grown.named_parameters()}
    for _ in range(2):  # in the first step only the way out of what is new opens
        optimizer.zero_grad()
        nn.functional.cross_entropy(grown.train()(pixels), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    for name in ("body.blocks.4.3.conv_dw.weight", "body.blocks.4.3.bn3.weight", "head.weight"):
        assert not torch.equal(before[name], grown.get_parameter(name))
    new_columns = grown.head.weight[:, 1280:]
    assert new_columns.numel()
    assert new_columns.abs().max() > 0


def test_a_larger_network_and_one_of_another_kind_are_no_beginning(smaller):
    with pytest.raises(ValueError, match="shape"):
        grow(smaller, {**smaller.state_dict(), "head.weight": torch.zeros(CLASSES, 5000)})
    with pytest.raises(ValueError, match="has body"):
        grow(build("resnet50", CLASSES, SIDE), smaller.state_dict())
