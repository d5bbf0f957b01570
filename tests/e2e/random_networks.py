"""Random small networks over everything that the dataflow template takes, for tests of the whole road."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x + f(x), with as many channels out as in."""

    def __init__(self, channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + x)


class Best(nn.Module):
    """Index of the largest score."""

    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


def random_network(seed: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network in evaluation mode with random weights and batch-norm statistics, and its input shape."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    channels, size = rng.choice([1, 2, 3, 4]), rng.choice([4, 5, 6, 8])
    shape = (1, channels, size, size)
    layers: list[nn.Module] = []
    if rng.random() < 0.8:
        for _ in range(rng.randint(1, 3)):
            block, channels = _block(rng, channels, nn.Sequential(*layers)(torch.zeros(shape)).shape)
            layers += block
    layers.append(nn.Flatten())
    features = nn.Sequential(*layers).eval()(torch.zeros(shape)).shape[1]
    for _ in range(rng.randint(0, 2)):
        width = rng.choice([3, 4, 6, 8])
        layers += [nn.Linear(features, width, bias=rng.random() < 0.7), nn.ReLU()]
        features = width
    layers.append(nn.Linear(features, rng.choice([2, 5, 10])))
    if rng.random() < 0.3:
        layers.append(Best())
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) * 0.3
            module.running_var = torch.rand(module.num_features) * 1.7 + 0.3
            nn.init.normal_(module.weight, 1, 0.4)
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval(), shape


def _block(rng: random.Random, channels: int, shape: torch.Size) -> tuple[list[nn.Module], int]:
    """One convolution, pooling or residual block that fits a map of `shape`, and the channels after it."""
    size = min(shape[2:])
    kernel = rng.choice([k for k in (1, 2, 3) if k <= size])
    match rng.choice(["conv", "conv", "conv", "depthwise", "residual", "max", "average"]):
        case "max":
            return [nn.MaxPool2d(kernel, rng.choice([1, 2]), padding=kernel // 2 if kernel < size else 0)], channels
        case "average":
            return [nn.AvgPool2d(kernel, rng.choice([1, kernel]))], channels
        case "residual":
            return [Residual(channels, rng.choice([1, 3]), rng.choice([1, channels]))], channels
        case "depthwise":
            width, groups = channels * rng.choice([1, 2]), channels
        case _:
            width, groups = rng.choice([2, 4, 6]), 1
    dilation = rng.choice([1, 2]) if 2 * (kernel - 1) < size else 1
    padding = rng.randint(0, kernel - 1)
    conv = nn.Conv2d(channels, width, kernel, rng.choice([1, 1, 2]), padding, dilation, groups, bias=rng.random() < 0.5)
    block: list[nn.Module] = [conv]
    if rng.random() < 0.5:
        block.append(nn.BatchNorm2d(width))
    if rng.random() < 0.8:
        block.append(rng.choice([nn.ReLU(), nn.ReLU6()]))
    return [module.eval() for module in block], width
