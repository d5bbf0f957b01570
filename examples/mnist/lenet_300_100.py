"""LeNet-300-100: the fully connected network of LeCun et al. (1998) with relu, as compression papers use it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class LeNet300(nn.Module):
    """Input (n, 1, 28, 28) with values 0 to 1, output (n, 10): one score a digit. 266,610 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.fc1(images.flatten(1)))
        hidden = F.relu(self.fc2(hidden))
        scores: Tensor = self.fc3(hidden)
        return scores


def build() -> nn.Module:
    """Return the network; `train.py` writes its weights to lenet_300_100.safetensors."""
    return LeNet300()
