"""LeNet-5 in Caffe's variant (examples/mnist/lenet.prototxt), the one that compression papers measure.

It differs from LeCun's: 20 and 50 channels, max pooling, one hidden layer of 500, and a single relu, after that
layer. The convolutions have none; the max pooling behind them is what keeps them from folding into one.
"""

from __future__ import annotations

from torch import nn


def build() -> nn.Module:
    """Return the network: input (n, 1, 28, 28) with values 0 to 1, output (n, 10); 431,080 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50 * 4 * 4, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )
