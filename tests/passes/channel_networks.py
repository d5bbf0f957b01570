"""Random float networks with everything that couples channels: sums, concatenations, groups, shuffles, gates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import strategies as st

from bitkiln.ir import Const, Graph
from bitkiln.ir.ops import (
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Mul,
    Pad,
    Permute,
    ReduceMean,
    Relu,
    Reshape,
    Resize,
    ResizeMode,
    Sigmoid,
    Slice,
)
from bitkiln.passes._codes import with_constants
from tests.passes.networks import Network

Draw = st.DrawFn
SAME = ((1, 1), (1, 1))


class CoupledNetwork(Network):
    """Blocks take and give a value [1, C, 6, 6]."""

    def width(self, x: str) -> int:
        return self.build.types[x].shape[1]

    def block(self, x: str, kind: int, name: str) -> str:
        blocks: tuple[Callable[[str, str], str], ...] = (
            self.plain,
            self.residual,
            self.dense,
            self.depthwise,
            self.grouped,
            self.gate,
            self.shuffle,
            self.halves,
            self.pools,
            self.transposed,
            self.padded,
        )
        return blocks[kind % len(blocks)](x, name)

    def plain(self, x: str, name: str) -> str:
        return self.op(Relu(), self.norm(self.conv(x, 6, f"{name}.conv", Conv2d(padding=SAME)), f"{name}.norm"))

    def norm(self, x: str, name: str) -> str:
        width = self.width(x)
        gamma, beta, mean = (self.const(f"{name}.{part}", self.random(width)) for part in ("gamma", "beta", "mean"))
        variance = self.const(f"{name}.variance", self.random(width).square() + 0.5)
        return self.op(BatchNorm(), x, gamma, beta, mean, variance, name=name)

    def residual(self, x: str, name: str) -> str:
        y = self.op(Relu(), self.conv(x, 5, f"{name}.a", Conv2d(padding=SAME)))
        return self.op(Add(), x, self.conv(y, self.width(x), f"{name}.b", size=1), name=name)

    def dense(self, x: str, name: str) -> str:
        y = self.op(Relu(), self.conv(x, 3, f"{name}.conv", Conv2d(padding=SAME)))
        return self.op(Concat(), x, y, x, name=name)

    def depthwise(self, x: str, name: str) -> str:
        x = self.conv(x, 4, f"{name}.wide", size=1)
        y = self.conv(x, 8, f"{name}.deep", Conv2d(padding=SAME, groups=4))
        return self.conv(self.op(Relu(), y), 5, f"{name}.point", size=1)

    def grouped(self, x: str, name: str) -> str:
        x = self.op(Relu(), self.conv(x, 6, f"{name}.wide", size=1))
        return self.conv(x, 4, f"{name}.conv", Conv2d(padding=SAME, groups=2))

    def gate(self, x: str, name: str) -> str:
        squeezed = self.op(Relu(), self.conv(self.op(ReduceMean((2, 3), True), x), 3, f"{name}.a", size=1))
        gate = self.op(Sigmoid(), self.conv(squeezed, self.width(x), f"{name}.b", size=1))
        return self.op(Mul(), x, gate, name=name)

    def shuffle(self, x: str, name: str) -> str:
        x = self.conv(x, 6, f"{name}.wide", size=1)
        groups = self.op(Permute((0, 2, 1, 3, 4)), self.op(Reshape((1, 2, 3, 6, 6)), x))
        return self.op(Reshape((1, 6, 6, 6)), groups, name=name)

    def halves(self, x: str, name: str) -> str:
        x = self.conv(x, 6, f"{name}.wide", size=1)
        left, right = self.op(Slice(1, 0, 3), x), self.op(Slice(1, 1, 6, 2), x)
        return self.op(Concat(), self.op(Relu(), self.conv(left, 3, f"{name}.conv", size=1)), right, name=name)

    def pools(self, x: str, name: str) -> str:
        x = self.op(MaxPool2d((3, 3), (2, 2), (1, 1)), x)
        return self.op(AvgPool2d((2, 2), (1, 1), (1, 1)), self.op(Resize((5, 5), ResizeMode.NEAREST), x), name=name)

    def transposed(self, x: str, name: str) -> str:
        weight = self.const(f"{name}.weight", self.random(self.width(x), 4, 3, 3))
        return self.op(ConvTranspose2d(padding=(1, 1)), x, weight, self.const(f"{name}.bias", self.random(4)))

    def padded(self, x: str, name: str) -> str:
        return self.conv(self.op(Pad(((1, 2), (0, 0), (0, 0))), x), 5, f"{name}.conv", Conv2d(padding=SAME))


@st.composite
def coupled_networks(draw: Draw) -> Graph:
    """One to four blocks between a first convolution and a linear layer."""
    network = CoupledNetwork((2, 6, 6), draw(st.integers(0, 99)))
    x = network.conv(network.x, 6, "first", Conv2d(padding=SAME))
    for i, kind in enumerate(draw(st.lists(st.integers(0, 10), min_size=1, max_size=4))):
        x = network.block(x, kind, f"block{i}")
    shape = network.build.types[x].shape
    x = network.op(Reshape((1, shape[1] * shape[2] * shape[3])), x, name="flat")
    return network.graph(network.linear(network.op(Relu(), network.linear(x, 7, "hidden")), 3, "head"))


def with_zero_slices(graph: Graph, seed: int, share: float) -> Graph:
    """The graph with random rows and columns of its weights at zero; biases and zero points stay."""
    generator = torch.Generator().manual_seed(seed)
    changed = {}
    for const in graph.consts:
        if const.data.dim() >= 2:
            data = const.data.clone()
            for axis in (0, 1):
                gone = torch.rand(data.shape[axis], generator=generator) < share
                data.index_fill_(axis, gone.nonzero().reshape(-1), 0)
            changed[const.name] = Const(const.name, const.type, data)
    return with_constants(graph, changed)
