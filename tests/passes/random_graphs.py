"""Random small quantised graphs: every operation that has a unit, in every legal shape that hypothesis thinks of."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, storage_dtype
from bitkiln.ir.ops import (
    Add,
    Conv2d,
    Dequantise,
    Linear,
    MaxPool2d,
    Op,
    Quantise,
    Relu,
    Requantise,
    Reshape,
    SumPool2d,
    TopK,
)

Draw = st.DrawFn


class Network:
    """A builder that draws what it adds."""

    def __init__(self, draw: Draw, name: str = "random") -> None:
        self.draw = draw
        self.build = Builder(name)

    def chance(self) -> bool:
        return self.draw(st.booleans())

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def int_of(self, value: str) -> Int:
        number = self.build.types[value].number
        assert isinstance(number, Int)
        return number

    def spread(self, room: int, kernel: int) -> int:
        """A dilation with which the kernel still fits."""
        return self.number(1, max(1, min(2, (room - 1) // max(1, kernel - 1))))

    def shape(self, value: str) -> tuple[int, ...]:
        return self.build.types[value].shape

    def input(self, shape: tuple[int, ...]) -> str:
        number = Int(self.number(2, 8), self.chance(), self.number(0, 4))
        if self.chance():
            return self.build.input("x", TensorType(shape, number))
        x = self.build.input("x", TensorType(shape, Float()))
        if len(shape) == 4 and self.chance():
            flat = self.build.add(Reshape((1, shape[1] * shape[2] * shape[3])), (x,), "flat")
            x = self.build.add(Reshape(shape), (flat,), "map")
        return self.build.add(Quantise(number), (x,), "codes")

    def constant(self, name: str, shape: tuple[int, ...], number: Int) -> str:
        generator = torch.Generator().manual_seed(self.number(0, 1 << 16))
        data = torch.randint(number.lo, number.hi + 1, shape, generator=generator, dtype=torch.int64)
        return self.build.constant(name, TensorType(shape, number), data.to(storage_dtype(number)))

    def weights(self, x: str, op: Op, name: str, shape: tuple[int, ...]) -> str:
        """A product with random weights, points a channel or for all, with or without a bias."""
        fracs = tuple(self.number(0, 2) for _ in range(shape[0])) if self.chance() else self.number(0, 2)
        number = Int(self.number(2, 6), True, fracs, 0 if isinstance(fracs, tuple) else None)
        args = [x, self.constant(f"{name}.weight", shape, number)]
        if self.chance():
            point = self.int_of(x).fracs[0]
            at = tuple(frac + point for frac in fracs) if isinstance(fracs, tuple) else fracs + point
            args.append(self.constant(f"{name}.bias", shape[:1], Int(self.number(2, 8), True, at, number.axis)))
        product = self.build.add(op, tuple(args), name)
        return self.requantise(product) if isinstance(fracs, tuple) or self.chance() else product

    def requantise(self, x: str, with_multiplier: bool = False) -> str:
        source = self.int_of(x)
        number = Int(self.number(2, 8), self.chance(), self.number(-2, 4))
        multiplier = self.number(2, 9) if with_multiplier and self.chance() else 1
        multiplier_frac = self.number(0, 3) if multiplier > 1 else 0
        assert isinstance(number.frac, int)
        shift = tuple(frac + multiplier_frac - number.frac for frac in source.fracs)
        hi = self.number(0, number.hi) if self.chance() else None
        return self.build.add(Requantise(number, shift, multiplier, multiplier_frac, hi), (x,), f"{x}_codes")

    def narrowed(self, x: str) -> str:
        """Requantised where the codes grow too wide for another product."""
        return self.requantise(x, with_multiplier=True) if self.int_of(x).bits > 8 else x

    def conv2d(self, x: str, name: str) -> str:
        x = self.narrowed(x)
        _, channels, height, width = self.shape(x)
        groups = self.draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
        filters = groups * self.number(1, 4)
        padding = ((self.number(0, 2), self.number(0, 2)), (self.number(0, 2), self.number(0, 2)))
        room = (height + sum(padding[0]), width + sum(padding[1]))
        kernel = (self.number(1, min(3, room[0])), self.number(1, min(3, room[1])))
        dilation = (self.spread(room[0], kernel[0]), self.spread(room[1], kernel[1]))
        op = Conv2d((self.number(1, 3), self.number(1, 3)), padding, dilation, groups)
        return self.weights(x, op, name, (filters, channels // groups, *kernel))

    def max_pool(self, x: str, name: str) -> str:
        _, _, height, width = self.shape(x)
        kernel = (self.number(1, min(3, height)), self.number(1, min(3, width)))
        padding = (self.number(0, kernel[0] // 2), self.number(0, kernel[1] // 2))
        stride = (self.number(1, 3), self.number(1, 3))
        dilation = (1, 1)
        if padding == (0, 0):
            dilation = (self.spread(height, kernel[0]), self.spread(width, kernel[1]))
        return self.build.add(MaxPool2d(kernel, stride, padding, dilation, self.chance()), (x,), name)

    def sum_pool(self, x: str, name: str) -> str:
        x = self.narrowed(x)
        _, _, height, width = self.shape(x)
        kernel = (self.number(1, min(4, height)), self.number(1, min(4, width)))
        padding = (self.number(0, kernel[0] // 2), self.number(0, kernel[1] // 2))
        stride = (self.number(1, 3), self.number(1, 3))
        y = self.build.add(SumPool2d(kernel, stride, padding, self.chance()), (x,), name)
        return self.requantise(y, with_multiplier=True) if self.chance() else y

    def sum(self, x: str, y: str, name: str) -> str:
        points = [self.int_of(value).fracs[0] for value in (x, y)]
        shifts = (max(points) - points[0], max(points) - points[1])
        z = self.build.add(Add(shifts), (x, y), name)
        return self.requantise(z, with_multiplier=True) if self.chance() else z

    def residual(self, x: str, name: str) -> str:
        """x plus a convolution of x of the same shape, or x plus itself."""
        x = self.narrowed(x)
        if self.number(0, 3) == 0:
            return self.sum(x, x, name)
        channels = self.shape(x)[1]
        size = self.draw(st.sampled_from([1, 3]))
        op = Conv2d((1, 1), ((size // 2, size // 2), (size // 2, size // 2)))
        y = self.weights(x, op, f"{name}_conv", (channels, channels, size, size))
        return self.sum(*((x, y) if self.chance() else (y, x)), name)

    def linear(self, x: str, name: str) -> str:
        x = self.narrowed(x)
        return self.weights(x, Linear(), name, (self.number(1, 12), self.shape(x)[-1]))

    def block(self, x: str, name: str) -> str:
        kind = self.number(0, 6)
        match kind:
            case 0 | 1:
                return self.conv2d(x, name)
            case 2:
                return self.max_pool(x, name)
            case 3:
                return self.sum_pool(x, name)
            case 4:
                return self.residual(x, name)
            case 5:
                return self.build.add(Relu(), (x,), name)
            case _:
                return self.requantise(x, with_multiplier=True)

    def flat(self, x: str) -> str:
        shape = self.shape(x)
        elements = shape[1] * shape[2] * shape[3]
        return self.build.add(Reshape((1, elements)), (x,), "flat")

    def unflat(self, x: str) -> str:
        elements = self.shape(x)[1]
        channels = self.draw(st.sampled_from([n for n in range(1, elements + 1) if elements % n == 0]))
        return self.build.add(Reshape((1, channels, elements // channels, 1)), (x,), "unflat")

    def finish(self, x: str) -> Graph:
        if self.chance() and len(self.shape(x)) == 2:
            k = self.draw(st.integers(1, min(3, self.shape(x)[1])))
            x = self.build.add(TopK(k), (x,), "class")
        elif self.chance():
            x = self.build.add(Dequantise(self.int_of(x).fracs), (x,), "values")
        return self.build.graph((x,))


@st.composite
def networks(draw: Draw, blocks: int = 3) -> Graph:
    """A feature map through some blocks, then perhaps linear layers, perhaps back to a map, perhaps an arg-max."""
    net = Network(draw)
    x = net.input((1, net.number(1, 4), net.number(1, 7), net.number(1, 7)))
    for i in range(net.number(0, blocks)):
        x = net.block(x, f"layer{i}")
    if net.chance():
        x = net.linear(net.flat(x), "linear1")
        if net.chance():
            x = net.linear(x, "linear2")
        elif net.chance():
            x = net.conv2d(net.unflat(x), "after")
    if all(isinstance(node.op, Quantise | Reshape | MaxPool2d) for node in net.build.nodes):
        x = net.requantise(x)
    return net.finish(x)
