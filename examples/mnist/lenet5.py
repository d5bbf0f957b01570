"""LeNet-5 in Caffe's variant (examples/mnist/lenet.prototxt), the one that compression papers measure.

It differs from LeCun's: 20 and 50 channels, max pooling, one hidden layer of 500, and a single relu, after that
layer. The convolutions have none; the max pooling behind them is what keeps them from folding into one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet5(nn.Module):
    """Input (n, 1, 28, 28) with values 0 to 1, output (n, 10): one score a digit. 431,080 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = F.max_pool2d(self.conv1(images), 2)
        features = F.max_pool2d(self.conv2(features), 2)
        hidden = F.relu(self.fc1(features.flatten(1)))
        scores: Tensor = self.fc2(hidden)
        return scores


def build() -> nn.Module:
    """Return the network; `train.py` writes its weights to lenet5.safetensors."""
    return LeNet5()
