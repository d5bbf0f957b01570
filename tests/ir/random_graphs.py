"""Random graphs for property tests, and what it means that two graphs are the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from bitkiln.ir import Builder, Float, Graph, Int, Location, TensorType, ToolError, storage_dtype
from bitkiln.ir.ops import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Dequantise,
    Linear,
    MaxPool2d,
    Op,
    Quantise,
    Relu,
    Requantise,
    Reshape,
    ScaleShift,
    SumPool2d,
    TopK,
)


def random_codes(shape: tuple[int, ...], number: Int, seed: int) -> Tensor:
    """Uniform codes of the format, with the extremes among them, in its storage dtype."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randint(number.lo, number.hi + 1, shape, generator=generator, dtype=torch.int64)
    extremes = torch.rand(shape, generator=generator)
    data[extremes < 0.1] = number.lo
    data[extremes > 0.9] = number.hi
    return data.to(storage_dtype(number))


def random_input(graph: Graph, batch: int, seed: int) -> tuple[Tensor, ...]:
    """Inputs of a graph: codes of each format, or floats around 0."""
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for value in graph.inputs:
        shape = (batch, *value.type.shape[1:])
        if isinstance(value.type.number, Int):
            inputs.append(random_codes(shape, value.type.number, seed))
        else:
            inputs.append(torch.randn(shape, generator=generator))
    return tuple(inputs)


def assert_same(a: Graph, b: Graph) -> None:
    """Equal in everything, constants bit by bit."""
    assert (a.name, a.inputs, a.nodes, a.outputs) == (b.name, b.inputs, b.nodes, b.outputs)
    assert [(const.name, const.type) for const in a.consts] == [(const.name, const.type) for const in b.consts]
    for one, other in zip(a.consts, b.consts, strict=True):
        assert one.data.dtype == other.data.dtype
        assert one.data.numpy().tobytes() == other.data.numpy().tobytes()


def locations() -> st.SearchStrategy[Location]:
    text = st.text(max_size=8) | st.sampled_from(["model.py", 'a "b".py', "C:\\x\\", "é\u2028\n", "\udc80"])
    return st.just(Location()) | st.builds(Location, text, st.integers(0, 999_999_999), text)


@st.composite
def graphs(draw: DrawFn, quantised: bool | None = None) -> Graph:
    """A verified graph of some chained operations, on floats or on codes, and for some of both."""
    on_codes = draw(st.booleans()) if quantised is None else quantised
    build = _Chain(Builder("random"), draw)
    number = Int(draw(st.integers(1, 9)), draw(st.booleans()), draw(st.integers(-3, 9))) if on_codes else Float()
    shape = (1, *(draw(st.integers(1, 5)) for _ in range(3 if draw(st.booleans()) else 1)))
    x = build.builder.input("x", TensorType(shape, number))
    for _ in range(draw(st.integers(0, 6))):
        x = build.extended(x)
    names = st.sampled_from(sorted(build.builder.types))
    outputs = draw(st.lists(names, max_size=3))
    return build.builder.graph((x, *outputs))


class _Chain:
    def __init__(self, builder: Builder, draw: DrawFn) -> None:
        self.builder, self.draw = builder, draw

    def extended(self, x: str) -> str:
        """Append an operation on `x` if the drawn one fits it."""
        loc, name = self.draw(locations()), self.draw(st.sampled_from(["y", "conv.1", "a b"]))
        names = len(self.builder.consts)
        try:
            op, args = self._operation(x, self.builder.types[x])
            return self.builder.add(op, args, name, loc)
        except ToolError:
            for const in self.builder.consts[names:]:
                del self.builder.types[const.name]
            del self.builder.consts[names:]
            return x

    def _operation(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        if type_.is_float:
            choices = [self._product, self._pool, self._shape, self._float_only, self._quantise]
        else:
            choices = [self._product, self._pool, self._shape, self._requantise, self._requantise, self._add]
        return choices[self.draw(st.integers(0, len(choices) - 1))](x, type_)

    def _small(self, low: int = 1, high: int = 3) -> int:
        return self.draw(st.integers(low, high))

    def _pair(self, low: int = 1, high: int = 3) -> tuple[int, int]:
        return self._small(low, high), self._small(low, high)

    def _const(self, shape: tuple[int, ...], number: Int | Float) -> str:
        seed = self.draw(st.integers(0, 99))
        if isinstance(number, Int):
            return self.builder.constant("w", TensorType(shape, number), random_codes(shape, number, seed))
        data = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return self.builder.constant("w", TensorType(shape, number), data)

    def _product(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        filters = self._small(1, 4)
        number: Int | Float = Float()
        if isinstance(type_.number, Int):
            per_channel = bool(self._small(0, 1))
            fracs = tuple(self._small(-2, 7) for _ in range(filters)) if per_channel else self._small(-2, 7)
            number = Int(self._small(1, 9), True, fracs, 0 if per_channel else None)
        if len(type_.shape) == 4:
            groups = self._small(1, 2)
            op: Op = Conv2d(self._pair(), (self._pair(0, 2), self._pair(0, 2)), self._pair(1, 2), groups)
            weight = self._const((filters, max(1, type_.shape[1] // groups), *self._pair()), number)
        else:
            op, weight = Linear(), self._const((filters, type_.shape[-1]), number)
        if not self._small(0, 1):
            return op, (x, weight)
        accumulator = op.infer(type_, self.builder.types[weight]).number
        if isinstance(accumulator, Int):
            accumulator = replace(accumulator, bits=12, axis=None if accumulator.axis is None else 0)
        assert isinstance(accumulator, Int | Float)
        return op, (x, weight, self._const((filters,), accumulator))

    def _pool(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        kernel, stride, padding, ceil = self._pair(), self._pair(), self._pair(0, 1), bool(self._small(0, 1))
        match self._small(0, 3):
            case 0:
                return MaxPool2d(kernel, stride, padding, self._pair(1, 2), ceil), (x,)
            case 1:
                return SumPool2d(kernel, stride, padding, ceil), (x,)
            case 2:
                divisor = None if self._small(0, 1) else self._small()
                return AvgPool2d(kernel, stride, padding, ceil, bool(self._small(0, 1)), divisor), (x,)
            case _:
                return AdaptiveAvgPool2d(self._pair()), (x,)

    def _shape(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        match self._small(0, 3):
            case 0:
                return Reshape((1, type_.elements)), (x,)
            case 1:
                return Concat(self._small(1, 3)), (x,) * self._small()
            case 2:
                return Relu(), (x,)
            case _:
                return TopK(), (x,)

    def _float_only(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        channels = (type_.shape[1],) if len(type_.shape) > 1 else (1,)
        match self._small(0, 3):
            case 0:
                return Clip(-0.1, float("inf")), (x,)
            case 1:
                return ScaleShift(), (x, self._const(channels, Float()), self._const(channels, Float()))
            case 2:
                variance = TensorType(channels, Float())
                last = self.builder.constant("variance", variance, torch.ones(channels))
                parameters = tuple(self._const(channels, Float()) for _ in range(3))
                return BatchNorm(0.1), (x, *parameters, last)
            case _:
                return Add(), (x, x)

    def _quantise(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        return Quantise(Int(self._small(1, 9), bool(self._small(0, 1)), self._small(-2, 7))), (x,)

    def _requantise(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        assert isinstance(type_.number, Int)
        if not self._small(0, 4):
            return Dequantise(type_.number.fracs), (x,)
        number = Int(self._small(1, 9), bool(self._small(0, 1)), self._small(-3, 9))
        frac = self._small(0, 6)
        shift = tuple(point + frac - number.fracs[0] for point in type_.number.fracs)
        hi = self._small(0, number.hi) if self._small(0, 1) else None
        return Requantise(number, shift, self._small(1, 60), frac, hi), (x,)

    def _add(self, x: str, type_: TensorType) -> tuple[Op, tuple[str, ...]]:
        assert isinstance(type_.number, Int)
        shift = self._small(0, 3)
        number = Int(self._small(1, 9), True, type_.number.fracs[0] - shift)
        other = self._const((1, *type_.shape[1:]), number)
        return Add((0, shift)), (x, other)
