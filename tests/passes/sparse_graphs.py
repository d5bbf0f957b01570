"""Quantised networks with few weights left. Weights are random with a fixed seed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from bitkiln.ir import Builder, Graph, Int, TensorType
from bitkiln.ir.ops import Conv2d, Dequantise, Linear, MaxPool2d, Op, Requantise, Reshape
from tests.passes.small_graphs import at

CODES = Int(8, False, 7)


@dataclass
class Pruned:
    """A builder of layers whose weights have 8 bits, of which so many are not 0; `levels` are what is left, or all."""

    build: Builder
    generator: torch.Generator
    levels: tuple[int, ...] = ()

    def layer(self, x: str, op: Op, name: str, shape: tuple[int, ...], density: float) -> str:
        if self.levels:
            choice = torch.randint(0, len(self.levels), shape, generator=self.generator)
            codes = torch.tensor(self.levels)[choice]
        else:
            codes = torch.randint(-127, 128, shape, generator=self.generator)
        codes = codes * (torch.rand(shape, generator=self.generator) < density)
        weight = self.build.constant(f"{name}.weight", TensorType(shape, Int(8, True, 7)), codes.to(torch.int8))
        y = self.build.add(op, (x, weight), name, at(name))
        return self.build.add(Requantise(CODES, (7,)), (y,), f"{name}_codes", at(name))


def pruned(name: str, seed: int = 0, levels: tuple[int, ...] = ()) -> Pruned:
    return Pruned(Builder(name), torch.Generator().manual_seed(seed), levels)


def pruned_mlp(sizes: tuple[int, ...], densities: tuple[float, ...], levels: tuple[int, ...] = ()) -> Graph:
    """Linear layers fc1, fc2, ..."""
    layers = pruned("pruned_mlp", levels=levels)
    x = layers.build.input("x", TensorType((1, sizes[0]), CODES))
    for i, ((inputs, outputs), density) in enumerate(zip(itertools.pairwise(sizes), densities, strict=True)):
        x = layers.layer(x, Linear(), f"fc{i + 1}", (outputs, inputs), density)
    return layers.build.graph((layers.build.add(Dequantise((7,)), (x,), "scores"),))


def pruned_cnn() -> Graph:
    """Map [3, 7, 6], conv1 and conv2 with 8 and 12 filters at 60 and 10 %, pooling between, fc at 15 %."""
    layers = pruned("pruned_cnn", levels=(-90, -20, 33, 120))
    x = layers.build.input("x", TensorType((1, 3, 7, 6), CODES))
    same = ((1, 1), (1, 1))
    x = layers.layer(x, Conv2d((1, 1), same), "conv1", (8, 3, 3, 3), 0.6)
    x = layers.build.add(MaxPool2d((2, 2), (2, 2)), (x,), "pool")
    x = layers.layer(x, Conv2d((1, 1), same), "conv2", (12, 8, 3, 3), 0.1)
    x = layers.build.add(Reshape((1, layers.build.types[x].elements)), (x,), "flat")
    return layers.build.graph((layers.layer(x, Linear(), "fc", (6, 108), 0.15),))
