"""Small float graphs with random weights, and samples for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bitkiln.ir import Builder, Float, Graph, Location, TensorType, evaluate
from bitkiln.ir.ops import AvgPool2d, Conv2d, Linear, Mul, Op, Relu, Sigmoid, Silu, Softmax
from bitkiln.passes import Context


@dataclass
class Network:
    """Builds a float graph; weights are random but fixed by `seed`."""

    shape: tuple[int, ...]
    seed: int = 0
    build: Builder = field(init=False)
    x: str = field(init=False)

    def __post_init__(self) -> None:
        self.build = Builder("tiny")
        self.generator = torch.Generator().manual_seed(self.seed)
        self.x = self.build.input("x", TensorType((1, *self.shape), Float()))

    def op(self, op: Op, *args: str, name: str = "") -> str:
        return self.build.add(op, args, name or op.name, Location("model.py", 7, f"layers.{name or op.name}"))

    def const(self, name: str, data: Tensor) -> str:
        return self.build.constant(name, TensorType(tuple(data.shape), Float()), data)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def linear(self, x: str, features: int, name: str, bias: bool = True) -> str:
        inputs = self.build.types[x].shape[-1]
        args = [x, self.const(f"{name}.weight", self.random(features, inputs) / inputs**0.5)]
        if bias:
            args.append(self.const(f"{name}.bias", self.random(features) * 0.1))
        return self.op(Linear(), *args, name=name)

    def conv(self, x: str, filters: int, name: str, op: Conv2d = Conv2d(), size: int = 3) -> str:  # noqa: B008  # frozen
        channels = self.build.types[x].shape[1] // op.groups
        weight = self.random(filters, channels, size, size) / (channels * size * size) ** 0.5
        bias = self.const(f"{name}.bias", self.random(filters) * 0.1)
        return self.op(op, x, self.const(f"{name}.weight", weight), bias, name=name)

    def graph(self, *outputs: str) -> Graph:
        return self.build.graph(outputs)


def mlp(sizes: Sequence[int] = (6, 8, 3), seed: int = 0) -> Graph:
    """Linear layers fc1, fc2, ... with relu1, relu2, ... between them."""
    network = Network((sizes[0],), seed)
    x = network.x
    for i, size in enumerate(sizes[1:], 1):
        x = network.linear(x, size, f"fc{i}")
        if i < len(sizes) - 1:
            x = network.op(Relu(), x, name=f"relu{i}")
    return network.graph(x)


def gated() -> Graph:
    """A convolution with a squeeze-and-excite gate, and a softmax at the end."""
    network = Network((2, 6, 6))
    x = network.op(Silu(), network.conv(network.x, 4, "stem"), name="silu")
    mean = network.op(AvgPool2d((4, 4), (4, 4)), x)
    gate = network.op(Sigmoid(), network.conv(mean, 4, "gate", Conv2d(), 1), name="sigmoid")
    y = network.conv(network.op(Mul(), x, gate, name="gated"), 3, "last", Conv2d(), 4)
    return network.graph(network.op(Softmax(1), y))


def samples(graph: Graph, count: int = 64, signed: bool = True, seed: int = 1) -> Tensor:
    """Random inputs [count, ...]: normal, or from 0 to 1."""
    shape = (count, *graph.inputs[0].type.shape[1:])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) if signed else torch.rand(shape, generator=generator)


def context(graph: Graph, x: Tensor | None = None, y: Tensor | None = None, seed: int = 0) -> Context:
    """A context whose samples serve for calibration and training; labels are the float graph's own by default."""
    x = samples(graph) if x is None else x
    if y is None:
        y = evaluate(graph, x)[0].flatten(1).argmax(1)
    return Context(x, x, y, seed, graph)
