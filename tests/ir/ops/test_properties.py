"""Operations on single elements and with broadcasting, for values and attributes that Hypothesis draws: equal to their
formulas in NumPy's 64 bits, and back from their text."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.ir import Builder, Float, TensorType, parse_graph, print_graph
from bitkiln.ir.ops import (
    Abs,
    Clip,
    Div,
    Elu,
    Exp,
    Expand,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Mish,
    Mul,
    Op,
    Power,
    Relu,
    ScaleShift,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
    TopK,
)

Floats = NDArray[np.float64]
NUMBER = st.floats(-12, 12, width=32)
FACTOR = st.floats(0.125, 4, width=32)
ERF = np.vectorize(math.erf)


def _softplus(x: Floats, beta: float, threshold: float) -> Floats:
    return np.where(beta * x > threshold, x, np.log1p(np.exp(beta * x)) / beta)


# A strategy for the operation, and its formula.
FUNCTIONS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any, Floats], Floats]]] = {
    "relu": (st.just(Relu()), lambda op, x: np.maximum(x, 0)),
    "clip": (st.builds(Clip, st.floats(-5, 0), st.floats(0, 5)), lambda op, x: np.minimum(np.maximum(x, op.lo), op.hi)),
    "sigmoid": (st.just(Sigmoid()), lambda op, x: 1 / (1 + np.exp(-x))),
    "tanh": (st.just(Tanh()), lambda op, x: 1 - 2 / (np.exp(2 * x) + 1)),
    "silu": (st.just(Silu()), lambda op, x: x / (1 + np.exp(-x))),
    "hard_sigmoid": (st.just(HardSigmoid()), lambda op, x: np.clip(x / 6 + 0.5, 0, 1)),
    "hard_swish": (st.just(HardSwish()), lambda op, x: x * np.clip(x + 3, 0, 6) / 6),
    "gelu": (st.just(Gelu()), lambda op, x: x * (1 + ERF(x / math.sqrt(2))) / 2),
    "leaky_relu": (st.builds(LeakyRelu, FACTOR), lambda op, x: np.where(x > 0, x, op.slope * x)),
    "elu": (st.builds(Elu, FACTOR), lambda op, x: np.where(x > 0, x, op.alpha * np.expm1(x))),
    "softplus": (st.builds(Softplus, FACTOR, st.floats(1, 30)), lambda op, x: _softplus(x, op.beta, op.threshold)),
    "mish": (st.just(Mish()), lambda op, x: x * np.tanh(np.log1p(np.exp(x)))),
    "abs": (st.just(Abs()), lambda op, x: np.sqrt(x * x)),
    "exp": (st.just(Exp()), lambda op, x: np.cosh(x) + np.sinh(x)),
    "log": (st.just(Log()), lambda op, x: np.log2(np.abs(x) + 1) / np.log2(math.e)),
    "power": (
        st.builds(Power, st.integers(-3, 4).map(float)),
        lambda op, x: np.exp(op.exponent * np.log(np.abs(x) + 1)),
    ),
}
POSITIVE = ("log", "power")


def check_text(op: Op, *types: TensorType) -> None:
    """The operation comes back from its text, attributes and type."""
    build = Builder("net")
    names = [build.input(f"x{i}", type_) for i, type_ in enumerate(types)]
    graph = build.graph((build.add(op, tuple(names), "y"),))
    (node,) = parse_graph(print_graph(graph), {}).nodes
    assert (node.op, node.type, node.args) == (op, graph.types["y"], tuple(names))
    assert graph.macs(graph.node["y"]) == op.macs(*types) == 0


def close(found: Tensor, expected: Floats) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=20)
@given(st.data())
def test_functions_of_one_element(name: str, data: st.DataObject) -> None:
    strategy, formula = FUNCTIONS[name]
    op = data.draw(strategy)
    x = np.array(data.draw(st.lists(NUMBER, min_size=1, max_size=12)), np.float64).reshape(1, -1)
    given_x = np.abs(x) + 1 if name in POSITIVE else x
    close(op.evaluate(torch.from_numpy(given_x)), formula(op, x))
    assert op.name == name
    type_ = TensorType(x.shape, Float())
    assert op.infer(type_) == type_
    check_text(op, type_)


@st.composite
def broadcasting(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Two tensors whose axes are equal or 1."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    shapes = [(1, *[size if draw(st.booleans()) else 1 for size in sizes]) for _ in range(2)]
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    return rng.normal(0, 3, shapes[0]), rng.normal(0, 3, shapes[1])


@settings(max_examples=30)
@given(broadcasting())
def test_products_and_quotients(pair: tuple[Floats, Floats]) -> None:
    x, y = pair
    types = [TensorType(part.shape, Float()) for part in pair]
    for op, expected in ((Mul(), x * y), (Div(), x / y)):
        close(op.evaluate(torch.from_numpy(x), torch.from_numpy(y)), expected)
        assert op.infer(*types) == TensorType(expected.shape, Float())
        check_text(op, *types)


@settings(max_examples=30)
@given(broadcasting())
def test_expand(pair: tuple[Floats, Floats]) -> None:
    x, y = pair
    expected = np.broadcast_to(x, np.broadcast_shapes(x.shape, y.shape))
    op = Expand(expected.shape)
    close(op.evaluate(torch.from_numpy(x)), expected)
    check_text(op, TensorType(x.shape, Float()))


@given(st.integers(1, 5), st.integers(0, 2), st.integers(0, 2**31))
def test_scale_and_shift_of_channels(channels: int, more_axes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, (2, channels, *[3] * more_axes))
    scale, shift = rng.normal(0, 2, channels), rng.normal(0, 2, channels)
    along = (channels, *[1] * more_axes)
    found = ScaleShift().evaluate(*(torch.from_numpy(part) for part in (x, scale, shift)))
    close(found, x * scale.reshape(along) + shift.reshape(along))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_argmax_takes_the_first_of_equals(values: list[int]) -> None:
    x = torch.tensor([values, values[::-1]], dtype=torch.float64)
    assert TopK().evaluate(x).tolist() == [values.index(max(values)), values[::-1].index(max(values))]
