"""Two readings of the "hybrid CNN-GNN" of Altarawneh 2023: a dense layer, and a graph network, beside a CNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.architectures.classifier import Classifier, conv_block, grid_of


class DenseHybrid(Classifier):
    """A CNN with a dense layer beside its mean: what the paper calls a graph network is one dense layer.

    Args:
        classes: number of logits.
        side: of the crops, in pixels, a multiple of 16; the dense layer has a weight for every place, so no other fits.
        hidden: width of the dense layer.
    """

    def __init__(self, classes: int, side: int, hidden: int = 128) -> None:
        width = 192
        body = nn.Sequential(
            conv_block(3, 32),
            conv_block(32, 48, stride=2),
            conv_block(48, 64),
            conv_block(64, 96, stride=2),
            conv_block(96, 96),
            conv_block(96, 128, stride=2),
            conv_block(128, 128),
            conv_block(128, width, stride=2),
        )
        super().__init__(body, width + hidden, classes)
        self.width = width
        self.places = (side // 16) ** 2
        self.dense = nn.Linear(width * self.places, hidden)

    def logits(self, features: Tensor) -> Tensor:
        joined = torch.cat(
            [features.mean(dim=(2, 3)), functional.relu(self.dense(features.flatten(1)))], dim=1
        )
        logits: Tensor = self.head(self.dropout(joined))
        return logits

    def evidence(self, features: Tensor) -> Tensor:
        """As `Classifier.evidence`, with the dense layer's units as they are: on, or off.

        The dense layer's part is gradient times feature; what the biases of the units that are on add is spread evenly.
        """
        convolved, dense = self.head.weight.split([self.width, self.dense.out_features], dim=1)
        on = (self.dense(features.flatten(1)) > 0).float()
        gradient = torch.matmul(on[:, None] * dense, self.dense.weight)
        spread = (gradient * features.flatten(1)[:, None]).unflatten(2, features.shape[1:]).sum(dim=2)
        even = torch.matmul(on, (dense * self.dense.bias).T)[:, :, None, None]
        return functional.conv2d(features, convolved[:, :, None, None]) + self.places * spread + even


class GraphLayer(nn.Module):
    """One step of messages between the nodes that are most alike.

    Every node hears the mean difference to its nearest others by cosine, and changes by what an MLP makes of itself
    and that (vision GNN, Han et al. 2022; relative features as in Li et al. 2019).
    """

    def __init__(self, width: int, neighbours: int = 9) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.norm = nn.LayerNorm(width)
        self.update = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, nodes: Tensor) -> Tensor:
        """Nodes [N, places, width] to the same."""
        normed = self.norm(nodes)
        heard = torch.matmul(self.edges(normed).to(normed.dtype), normed) - normed
        changed: Tensor = nodes + self.update(torch.cat([normed, heard], dim=2))
        return changed

    def edges(self, nodes: Tensor) -> Tensor:
        """Who hears whom, [N, places, places]; every row sums to 1. The choice of neighbours is not learned."""
        unit = functional.normalize(nodes.detach().float(), dim=2)
        likeness = torch.matmul(unit, unit.transpose(1, 2))
        least = likeness.topk(self.neighbours, dim=2).values[:, :, -1:]
        chosen = (likeness >= least).float()
        return chosen / chosen.sum(dim=2, keepdim=True)


class GraphHybridBody(nn.Module):
    """A CNN's map, and beside it that of a graph network whose nodes are the crop's patches of 8 px.

    Pixels [N, 3, S, S] to features [N, 2 * width, S / 8, S / 8].
    """

    def __init__(self, width: int = 160, layers: int = 4) -> None:
        super().__init__()
        trunk = 96
        self.trunk = nn.Sequential(
            conv_block(3, 32, stride=2),
            conv_block(32, 48),
            conv_block(48, 64, stride=2),
            conv_block(64, 64),
            conv_block(64, trunk, stride=2),
        )
        self.convolved = nn.Sequential(
            conv_block(trunk, 128), conv_block(128, 128), conv_block(128, width), conv_block(width, width)
        )
        self.patches = nn.Conv2d(trunk, width, 1)
        # A depthwise convolution tells each node where it is (conditional positions, Chu et al. 2021).
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.graph = nn.Sequential(*(GraphLayer(width) for _ in range(layers)), nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        shared = self.trunk(x)
        patches = self.patches(shared)
        nodes = (patches + self.place(patches)).flatten(2).transpose(1, 2)
        reasoned = grid_of(self.graph(nodes), patches.shape[-1])
        return torch.cat([self.convolved(shared), reasoned.to(shared.dtype)], dim=1)


def dense_hybrid(classes: int, side: int) -> Classifier:
    """The paper's own version."""
    return DenseHybrid(classes, side)


def graph_hybrid(classes: int, side: int) -> Classifier:  # noqa: ARG001 - takes any multiple of 8
    """A graph network in earnest."""
    width = 160
    return Classifier(GraphHybridBody(width), 2 * width, classes)
