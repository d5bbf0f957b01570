"""Small networks of codes with everything that moves, joins, multiplies or looks up elements."""

from __future__ import annotations

import torch

from bitkiln.ir import Builder, Graph, Int, TensorType
from bitkiln.ir.ops import (
    Add,
    Concat,
    Dequantise,
    Flip,
    HardSigmoid,
    HardSwish,
    Linear,
    MaxPool2d,
    Mul,
    MultiThreshold,
    Op,
    Pad,
    Permute,
    Quantise,
    Requantise,
    Reshape,
    Resize,
    ResizeMode,
    Roll,
    Slice,
    SumPool2d,
    Take,
    TopK,
)
from tests.passes.small_graphs import CODES, Layers, at

SHAPE = (1, 4, 4, 6)


def _begin(name: str) -> tuple[Layers, str]:
    """A convolution with 4 channels on a map of 4 x 6."""
    layers = Layers(Builder(name))
    x = layers.build.input("x", TensorType(SHAPE, CODES))
    return layers, layers.conv(x, "conv", 4, 1)


def looked_up(build: Builder, op: Op, x: str, name: str) -> str:
    """A function of floats between codes of CODES."""
    values = build.add(Dequantise((4,)), (x,), f"{name}_values")
    return build.add(Quantise(CODES), (build.add(op, (values,), name),), f"{name}_codes")


def moved(name: str, *ops: Op) -> Graph:
    """The operations one after the other, then a convolution."""
    layers, x = _begin(name)
    for i, op in enumerate(ops):
        x = layers.build.add(op, (x,), f"move{i}", at(f"move{i}"))
    return layers.build.graph((layers.conv(x, "conv2", 2, 1),))


def gated() -> Graph:
    """Squeeze and excite: a factor a channel from the mean of the map, and a residual sum of it."""
    layers, x = _begin("gated")
    build = layers.build
    mean = build.add(SumPool2d((4, 6), (4, 6)), (x,), "mean")
    mean = build.add(Requantise(CODES, (10,), 43, 10), (mean,), "mean_codes")
    gate = looked_up(build, HardSigmoid(), layers.conv(mean, "excite", 4, 1), "gate")
    factors = [build.add(Dequantise((4,)), (value,), f"{value}_values") for value in (x, gate)]
    product = build.add(Mul(), tuple(factors), "gated")
    product = build.add(Quantise(CODES), (product,), "gated_codes", at("gated"))
    total = build.add(Add(), (product, gate), "shifted", at("shifted"))  # broadcast, too
    return build.graph((layers.requantise(total, "out", at("out")),))


def branches() -> Graph:
    """Split, hard swish on one half, concatenation with the other and with a pooled and enlarged copy."""
    layers, x = _begin("branches")
    build = layers.build
    left, right = (build.add(Slice(1, i, i + 2), (x,), f"half{i}") for i in (0, 2))
    left = looked_up(build, HardSwish(), left, "swish")
    small = build.add(MaxPool2d((2, 2), (2, 2)), (x,), "pool")
    large = build.add(Resize((4, 6), ResizeMode.NEAREST), (small,), "up")
    joined = build.add(Concat(1), (left, right, large), "joined")
    return build.graph((layers.conv(joined, "last", 3),))


def densest(k: int) -> Graph:
    """The largest of a flattened map, whose elements come in another order than they are counted in."""
    layers, x = _begin(f"densest{k}")
    flat = layers.build.add(Reshape((1, 96)), (x,), "flat")
    return layers.build.graph((layers.build.add(TopK(k), (flat,), "class", at("argmax")),))


def compared() -> Graph:
    """Thresholds a channel behind what moves, before rows that a linear layer takes in the graph's own order."""
    layers, x = _begin("compared")
    build = layers.build
    few = build.add(Slice(1, 0, 3), (x,), "few")
    levels = torch.tensor([[-9], [0], [20]], dtype=torch.int8)
    const = build.constant("levels", TensorType((3, 1), Int(7, True, 4)), levels)
    codes = build.add(MultiThreshold(Int(4), (-1,), (2,)), (few, const), "codes")
    rows = build.add(Reshape((1, 12, 6)), (codes,), "rows")
    return build.graph((layers.product(rows, Linear(), "fc", (2, 6)),))


def vectors() -> Graph:
    """Two vectors of a flattened map and of codes, one after the other."""
    layers, x = _begin("vectors")
    build = layers.build
    flat = build.add(Reshape((1, 96)), (x,), "flat")
    part = build.add(Slice(1, 3, 40, 4), (flat,), "part")
    return build.graph((build.add(Concat(1), (flat, part), "joined"),))


def sums_along(axis: int) -> Graph:
    """Concatenation along rows or columns."""
    layers, x = _begin(f"axis{axis}")
    joined = layers.build.add(Concat(axis), (x, x), "joined")
    return layers.build.graph((layers.conv(joined, "last", 2, 1),))


SHUFFLE = (Reshape((1, 2, 2, 4, 6)), Permute((0, 2, 1, 3, 4)), Reshape(SHAPE))

GRAPHS = (
    gated(),
    branches(),
    densest(1),
    densest(3),
    compared(),
    vectors(),
    sums_along(2),
    sums_along(3),
    moved("shuffle", *SHUFFLE),
    moved("up", Resize((8, 18), ResizeMode.NEAREST)),
    moved("turned", Flip((2,))),
    moved("mirrored", Flip((3,))),
    moved("rolled", Roll((1,), (2,))),
    moved("padded", Pad(((0, 0), (1, 0), (2, 1)))),
    moved("part", Slice(3, 1, 5, 2), Slice(1, 1, 4)),
    moved("transposed", Permute((0, 1, 3, 2))),
    moved("taken", Take(1, (3, 3, 0))),
)


def codes(graph: Graph, images: int) -> torch.Tensor:
    number = graph.inputs[0].type.number
    assert isinstance(number, Int)
    generator = torch.Generator().manual_seed(0)
    shape = (images, *graph.inputs[0].type.shape[1:])
    return torch.randint(number.lo, number.hi + 1, shape, generator=generator)
