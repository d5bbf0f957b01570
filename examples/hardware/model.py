"""Two small convolutional networks for MNIST's 28x28 images: a residual one, and a separable one like MobileNet.

Channel counts are multiples of 8, so that they fold evenly; the first convolution strides, so that all others see at
most 14x14 positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size (over `stride`), with batch norm."""
    padding = kernel // 2
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """Two convolutions whose sum with what came in is rectified (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + x)


class Separable(nn.Module):
    """A depthwise and a pointwise convolution (Howard et al. 2017)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = convolution(inputs, inputs, stride=stride, groups=inputs)
        self.pointwise = convolution(inputs, outputs, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.pointwise(torch.relu(self.depthwise(x))))


def build(seed: int, body: type[nn.Module], *arguments: object) -> nn.Module:
    """Return a network with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return body(*arguments)


class SmallResidual(nn.Module):
    """8 channels of 14x14, then 16 of 7x7, a residual block on each; the mean of each channel is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(1, 8, stride=2)
        self.block1 = Residual(8)
        self.widen = convolution(8, 16, stride=2)
        self.block2 = Residual(16)
        self.pool = nn.AvgPool2d(7)
        self.classify = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.block1(torch.relu(self.stem(images)))
        features = self.block2(torch.relu(self.widen(features)))
        scores: Tensor = self.classify(self.pool(features).flatten(1))
        return scores


class SmallMobile(nn.Module):
    """A stem and three separable blocks to 32 channels of 7x7; the mean of each channel is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(1, 8, stride=2)
        self.block1 = Separable(8, 16)
        self.block2 = Separable(16, 32, stride=2)
        self.block3 = Separable(32, 32)
        self.pool = nn.AvgPool2d(7)
        self.classify = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.block3(self.block2(self.block1(torch.relu(self.stem(images)))))
        scores: Tensor = self.classify(self.pool(features).flatten(1))
        return scores


def residual(seed: int = 0) -> nn.Module:
    """Return the residual network: 7,456 weights, 0.52 million products an image."""
    return build(seed, SmallResidual)


def mobile(seed: int = 0) -> nn.Module:
    """Return the separable network: 2,560 weights, 0.15 million products an image."""
    return build(seed, SmallMobile)
