"""LeNet-300-100: the fully connected network of LeCun et al. (1998) with relu, as compression papers use it."""

from __future__ import annotations

from torch import nn


def build() -> nn.Module:
    """Return the network: input (n, 1, 28, 28) with values 0 to 1, output (n, 10); 266,610 parameters."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
