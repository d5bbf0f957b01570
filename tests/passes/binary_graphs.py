"""Random small networks of signs and few-valued weights, as `streamline` leaves them."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, storage_dtype
from bitkiln.ir.ops import Conv2d, Dequantise, Linear, MaxPool2d, MultiThreshold, Reshape

WEIGHTS = ((-1, 1), (-1, 0, 1), (-3, -2, -1, 0, 1, 2, 3))


@dataclass
class BinaryNetwork:
    """Layers on a builder; every choice comes from `rng`."""

    build: Builder
    rng: random.Random

    def weight(self, name: str, shape: tuple[int, ...]) -> str:
        values = self.rng.choice(WEIGHTS)
        number = Int(2 if len(values) < 4 else 3, True)
        codes = torch.tensor([self.rng.choice(values) for _ in range(TensorType(shape, number).elements)])
        return self.build.constant(name, TensorType(shape, number), codes.reshape(shape).to(storage_dtype(number)))

    def thresholds(self, x: str, name: str) -> str:
        """Signs, mostly, or codes of two bits; for some channels falling."""
        type_ = self.build.types[x]
        channels, count = type_.shape[1], self.rng.choice([1, 1, 3])
        number = Float() if type_.is_float else Int(12, True, 0)
        dtype = torch.float32 if type_.is_float else storage_dtype(Int(12))
        levels = torch.tensor([[self.rng.randint(-6, 6) for _ in range(count)] for _ in range(channels)]).to(dtype)
        const = self.build.constant(f"{name}.levels", TensorType((channels, count), number), levels)
        base: tuple[int, ...] = (-1,) if count == 1 else (-2,)
        step: tuple[int, ...] = (2,) if count == 1 else (1,)
        if count == 1 and self.rng.random() < 0.3:
            turned = [self.rng.choice([-1, 1]) for _ in range(channels)]
            base, step = tuple(-sign for sign in turned), tuple(2 * sign for sign in turned)
        return self.build.add(MultiThreshold(Int(2), base, step), (x, const), name)

    def convolution(self, x: str, name: str) -> str:
        _, channels, height, width = self.build.types[x].shape
        filters, kernel = self.rng.choice([2, 4]), self.rng.choice([k for k in (1, 2, 3) if k <= min(height, width)])
        padding = self.rng.randint(0, kernel - 1)
        op = Conv2d((1, 1), ((padding, padding), (padding, padding)), (1, 1), 1)
        y = self.build.add(op, (x, self.weight(f"{name}.weight", (filters, channels, kernel, kernel))), name)
        y = self.thresholds(y, f"{name}.codes")
        if self.rng.random() < 0.4 and min(self.build.types[y].shape[2:]) >= 2:
            y = self.build.add(MaxPool2d((2, 2), (2, 2)), (y,), f"{name}.pool")
        return y

    def linear(self, x: str, name: str, outputs: int) -> str:
        weight = self.weight(f"{name}.weight", (outputs, self.build.types[x].shape[1]))
        return self.build.add(Linear(), (x, weight), name)


def binary_graph(seed: int) -> Graph:
    """Return a network on floats [1, C, H, W] or codes; thresholds first, convolutions, linear layers, floats out."""
    rng = random.Random(seed)
    network = BinaryNetwork(Builder(f"binary{seed}"), rng)
    build = network.build
    number = Float() if rng.random() < 0.5 else Int(4, True, 0)
    x = build.input("x", TensorType((1, rng.choice([1, 2, 3]), rng.randint(3, 6), rng.randint(3, 6)), number))
    if isinstance(number, Float) or rng.random() < 0.5:
        x = network.thresholds(x, "first")
    for i in range(rng.randint(0, 2)):
        x = network.convolution(x, f"conv{i}")
    x = build.add(Reshape((1, build.types[x].elements)), (x,), "flat")
    for i in range(rng.randint(0, 2)):
        x = network.thresholds(network.linear(x, f"fc{i}", rng.choice([3, 4, 6])), f"fc{i}.codes")
    x = network.linear(x, "last", 3)
    return build.graph((build.add(Dequantise((0,)), (x,), "scores"),))
