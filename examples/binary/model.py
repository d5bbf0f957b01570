"""The fully connected networks of FINN (Umuroglu et al. 2017) for MNIST, as plain float networks.

`binarise` makes them binary: it replaces the activations, so that they are named here only to say where they go.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FullyConnected(nn.Module):
    """Input (n, 1, 28, 28) with values 0 to 1, three hidden layers of `width` neurons, output (n, 10)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)
        self.fc4 = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.fc1(images.flatten(1)))
        hidden = torch.relu(self.fc2(hidden))
        hidden = torch.relu(self.fc3(hidden))
        scores: Tensor = self.fc4(hidden)
        return scores


def build(width: int, seed: int) -> nn.Module:
    """Return a network with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FullyConnected(width)


def tfc(seed: int = 0) -> nn.Module:
    """Return TFC, 784-64-64-64-10: 59,008 weights."""
    return build(64, seed)


def sfc(seed: int = 0) -> nn.Module:
    """Return SFC, 784-256-256-256-10: 334,336 weights."""
    return build(256, seed)


def lfc(seed: int = 0) -> nn.Module:
    """Return LFC, 784-1024-1024-1024-10: 2,910,208 weights."""
    return build(1024, seed)
