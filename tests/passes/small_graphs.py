"""Small quantised networks whose plans can be followed by hand. Weights are random with a fixed seed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch

from bitkiln.ir import Builder, Float, Graph, Int, Location, TensorType, storage_dtype
from bitkiln.ir.ops import Add, Conv2d, Dequantise, Linear, MaxPool2d, Op, Quantise, Requantise, Reshape, TopK

CODES = Int(8, True, 4)


def at(module: str) -> Location:
    return Location("model.py", 7, module)


@dataclass
class Layers:
    """A builder with the layers of a quantised network."""

    build: Builder
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(1))

    def product(self, x: str, op: Op, name: str, shape: tuple[int, ...], requantised: bool = True) -> str:
        """Weights with 4 bits and no bits after the point, so that every product has the point of its input."""
        number = Int(4, True, 0)
        codes = torch.randint(number.lo, number.hi + 1, shape, generator=self.generator)
        weight = self.build.constant(f"{name}.weight", TensorType(shape, number), codes.to(storage_dtype(number)))
        y = self.build.add(op, (x, weight), name, at(name))
        return self.requantise(y, f"{name}_codes", at(name)) if requantised else y

    def requantise(self, x: str, name: str, loc: Location) -> str:
        number = self.build.types[x].number
        assert isinstance(number, Int)
        assert isinstance(number.frac, int)
        return self.build.add(Requantise(CODES, (number.frac - 4,)), (x,), name, loc)

    def conv(self, x: str, name: str, filters: int, size: int = 3, groups: int = 1, requantised: bool = True) -> str:
        """Same-size convolution."""
        channels = self.build.types[x].shape[1] // groups
        padding = ((size // 2, size // 2), (size // 2, size // 2))
        return self.product(
            x, Conv2d((1, 1), padding, (1, 1), groups), name, (filters, channels, size, size), requantised
        )


def mlp(sizes: tuple[int, ...]) -> Graph:
    """Linear layers fc1, fc2, ... between codes of 8 bits."""
    layers = Layers(Builder("mlp"))
    x = layers.build.input("x", TensorType((1, sizes[0]), CODES))
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        x = layers.product(x, Linear(), f"fc{i + 1}", (outputs, inputs))
    return layers.build.graph((x,))


def cnn(argmax: bool = False) -> Graph:
    """Float image [1, 6, 6], conv1 with 4 filters, pool1, flatten, fc1 with 3 outputs, then floats or the arg-max."""
    layers = Layers(Builder("cnn"))
    build = layers.build
    image = build.input("image", TensorType((1, 1, 6, 6), Float()))
    x = build.add(Quantise(CODES), (image,), "image_codes")
    x = layers.conv(x, "conv1", 4)
    x = build.add(MaxPool2d((2, 2), (2, 2)), (x,), "pool1", at("pool1"))
    x = build.add(Reshape((1, 36)), (x,), "flat", at("flatten"))
    x = layers.product(x, Linear(), "fc1", (3, 36))
    if argmax:
        return build.graph((build.add(TopK(), (x,), "class", at("argmax")),))
    return build.graph((build.add(Dequantise((4,)), (x,), "logits"),))


def residual() -> Graph:
    """x + conv(x) on a map of 2 channels, 5 x 5."""
    layers = Layers(Builder("residual"))
    x = layers.build.input("x", TensorType((1, 2, 5, 5), CODES))
    y = layers.conv(x, "conv", 2)
    z = layers.build.add(Add(), (x, y), "sum", at("sum"))
    return layers.build.graph((layers.requantise(z, "sum_codes", at("sum")),))


def two_convolutions() -> Graph:
    """Map [2, 10, 10], conv1 with 4 filters and no padding, pool1, conv2 with 8, flatten, fc1 with 4 outputs."""
    layers = Layers(Builder("two_convolutions"))
    build = layers.build
    x = build.input("x", TensorType((1, 2, 10, 10), CODES))
    x = layers.product(x, Conv2d(), "conv1", (4, 2, 3, 3))
    x = build.add(MaxPool2d((2, 2), (2, 2)), (x,), "pool1", at("pool1"))
    x = layers.product(x, Conv2d(), "conv2", (8, 4, 3, 3))
    x = build.add(Reshape((1, 32)), (x,), "flat", at("flatten"))
    return build.graph((layers.product(x, Linear(), "fc1", (4, 32)),))
