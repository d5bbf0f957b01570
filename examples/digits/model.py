"""A residual network of 4,258 parameters for scikit-learn's 8x8 digits, small enough for an iCE40 UP5K.

Every layer is one that the dataflow template has: convolution with folded batch norm, relu, max pooling, a
residual add, one linear layer. All channel counts are multiples of 8, so that they fold evenly onto 2, 4 or 8
processing elements, and the first pooling comes early: the two large convolutions see 4x4 images only.
"""

from __future__ import annotations

from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Input (n, 1, 8, 8) with values 0 to 1, output (n, 10): one score a digit."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.widen = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.residual = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.classify = nn.Linear(16 * 2 * 2, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.widen(self.stem(images))
        features = self.relu(self.residual(features) + features)
        scores: Tensor = self.classify(self.pool(features).flatten(1))
        return scores


def build() -> nn.Module:
    """Return the network; `train.py` writes its weights to weights.safetensors."""
    return DigitsNet()
