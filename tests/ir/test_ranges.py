from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir import (
    Bipolar,
    Builder,
    Float,
    Graph,
    Int,
    TensorType,
    code_ranges,
    evaluate,
    exact_dtype,
    is_quantised,
    product_range,
    storage_dtype,
)
from bitkiln.ir.ops import (
    Add,
    Concat,
    Conv2d,
    Flip,
    Linear,
    MaxPool2d,
    Op,
    Pad,
    Permute,
    Quantise,
    Relu,
    Requantise,
    Reshape,
    SumPool2d,
    TopK,
)
from tests.ir.random_graphs import graphs, random_codes, random_input

SEEDS = st.integers(0, 2**32 - 1)


def extreme(codes: Tensor, number: Int, seed: int) -> Tensor:
    """The codes, or nothing but the ends of their format."""
    generator = torch.Generator().manual_seed(seed)
    high = torch.rand(codes.shape, generator=generator) < 0.5
    ends = torch.where(high, torch.full_like(codes, number.hi), torch.full_like(codes, number.lo))
    return ends if seed % 2 else codes


@settings(max_examples=150)
@given(graphs(quantised=True), SEEDS)
def test_ranges_bound_every_evaluation(graph: Graph, seed: int) -> None:
    ranges = code_ranges(graph)
    names = [name for name, type_ in graph.types.items() if isinstance(type_.number, Int)]
    assert set(ranges) == set(names)
    number = graph.inputs[0].type.number
    assert isinstance(number, Int)
    x = extreme(random_input(graph, 8, seed)[0], number, seed)
    for name, value in zip(names, evaluate(replace(graph, outputs=tuple(names)), x), strict=True):
        own = graph.types[name].number
        assert isinstance(own, Int)
        assert own.lo <= ranges[name][0] <= value.min()
        assert value.max() <= ranges[name][1] <= own.hi


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 8), st.booleans(), st.integers(1, 8)),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    SEEDS,
)
def test_the_range_of_a_product_is_attained(
    formats: tuple[int, bool, int], channels: int, convolve: bool, bias: bool, seed: int
) -> None:
    """The inputs with which each output channel is largest and smallest, all in one batch."""
    x_number, w_number = Int(formats[0], formats[1]), Int(formats[2])
    shape = (channels, 2, 3, 2) if convolve else (channels, 5)
    w = random_codes(shape, w_number, seed)
    build = Builder("product")
    x = build.input("x", TensorType((1, *shape[1:]), x_number))
    args = [x, build.constant("w", TensorType(shape, w_number), w)]
    if bias:
        b = random_codes((channels,), Int(9), seed + 1)
        args.append(build.constant("b", TensorType((channels,), Int(9)), b))
    graph = build.graph((build.add(Conv2d() if convolve else Linear(), tuple(args), "y"),))
    lo, hi = torch.tensor(x_number.lo), torch.tensor(x_number.hi)
    batch = torch.cat([torch.where(w > 0, hi, lo), torch.where(w > 0, lo, hi)])
    (y,) = evaluate(graph, batch)
    assert (int(y.min()), int(y.max())) == code_ranges(graph)["y"]


def chain(number: Int, shape: tuple[int, ...], *ops: Op) -> Graph:
    build = Builder("chain")
    x = build.input("x", TensorType((1, *shape), number))
    for op in ops:
        x = build.add(op, (x,), "y")
    return build.graph((x,))


@pytest.mark.parametrize(
    ("number", "shape", "ops", "expected"),
    [
        (Int(4), (1,), (Relu(),), (0, 7)),
        (Int(8, True, 4), (1,), (Requantise(Int(8, True, 2), (2,)),), (-32, 32)),
        (Int(8, True, 4), (1,), (Requantise(Int(8, False, 2), (2,)),), (0, 32)),
        (Int(8, True, 4), (1,), (Requantise(Int(8, False, 2), (2,), hi=24),), (0, 24)),
        (Int(8, True, 4), (1,), (Requantise(Int(6, True, 2), (2,)),), (-32, 31)),
        (Int(4, False, 1), (1,), (Requantise(Int(8, False, 3), (-2,)),), (0, 60)),
        (Int(4, False, 1), (1,), (Requantise(Int(8, False, 3), (0,), 3, 2),), (0, 45)),
        (Int(4, True, (0, 3), 1), (2,), (Requantise(Int(8, True, 0), (0, 3)),), (-8, 7)),
        (Int(3, False), (1, 4, 4), (MaxPool2d((2, 2), (1, 1), (1, 1)),), (0, 7)),
        (Int(3, True), (1, 4, 4), (SumPool2d((2, 3), (1, 1)),), (-24, 18)),
        (Int(3, True), (1, 2, 2), (Relu(), SumPool2d((2, 2), (2, 2)), Reshape((1, 1))), (0, 12)),
        (Int(3, True), (1, 2, 2), (Relu(), Permute((0, 2, 3, 1)), Flip((1,)), Pad(((1, 1), (0, 0), (0, 0)))), (0, 3)),
        (Int(3, True), (9,), (TopK(),), (0, 8)),
    ],
)
def test_ranges_through_operations(
    number: Int, shape: tuple[int, ...], ops: tuple[Op, ...], expected: tuple[int, int]
) -> None:
    graph = chain(number, shape, *ops)
    assert code_ranges(graph)[graph.outputs[0]] == expected


def test_every_single_requantised_code() -> None:
    """The range is attained: all codes of the input give it, with several shifts and multipliers."""
    x = torch.arange(-64, 64).reshape(-1, 1, 1).expand(-1, 2, 1)
    for shift in ((0, 3), (-2, 2), (5, 5), (9, 7)):
        for multiplier in (1, 5):
            for out in (Int(5), Int(6, False), Int(20)):
                graph = chain(Int(7, True, shift, 1), (2, 1), Requantise(out, shift, multiplier))
                (y,) = evaluate(graph, x)
                assert (int(y.min()), int(y.max())) == code_ranges(graph)[graph.outputs[0]]


def test_constants_count_as_they_are() -> None:
    build = Builder("consts")
    x = build.input("x", TensorType((1, 2), Int(4)))
    c = build.constant("c", TensorType((1, 2), Int(8, True, 1)), torch.tensor([[3, 5]], dtype=torch.int8))
    y = build.add(Add((1, 0)), (x, c), "y")
    z = build.add(Concat(), (c, c), "z")
    ranges = code_ranges(build.graph((y, z)))
    assert ranges == {"x": (-8, 7), "c": (3, 5), "y": (-13, 19), "z": (3, 5)}


def test_weights_and_bias_that_are_computed() -> None:
    """Weights from a node count with their format, a bias from a node with its own range."""
    build = Builder("computed")
    x = build.input("x", TensorType((1, 2), Int(4, False)))
    float_w = build.constant("float_w", TensorType((1, 2), Float()), torch.ones(1, 2))
    w = build.constant("w", TensorType((1, 2), Int(4)), torch.tensor([[1, -2]], dtype=torch.int8))
    b = build.constant("b", TensorType((1,), Int(4)), torch.tensor([5], dtype=torch.int8))
    by_node = build.add(Linear(), (x, build.add(Quantise(Int(4)), (float_w,), "q")), "by_node")
    biased = build.add(Linear(), (x, w, build.add(Relu(), (b,), "relu")), "biased")
    ranges = code_ranges(build.graph((by_node, biased)))
    assert ranges["by_node"] == (-256, 255)  # i9: 2 * 15 * -8 = -240 and 2 * 15 * 7 = 210
    assert ranges["biased"] == (-25, 20)


def test_product_range() -> None:
    w = torch.tensor([[1, -2, 3], [-4, 0, 0]])
    assert product_range(w, None, (0, 10)) == (-40, 40)
    assert product_range(w, torch.tensor([100, -100]), (0, 10)) == (-140, 140)
    assert product_range(w, None, (-1, 2)) == (-8, 10)
    assert product_range(w, None, (3, 5)) == (-20, 20)  # zeros of padding count, too
    assert product_range(w.to(torch.int8), None, (0, 2**40)) == (-(2**42), 2**42)


def test_float_graphs_have_no_ranges() -> None:
    graph = chain(Int(4), (2,), Relu())
    assert is_quantised(graph)
    build = Builder("float")
    graph = build.graph((build.add(Relu(), (build.input("x", TensorType((1, 2), Float())),), "y"),))
    assert not is_quantised(graph)
    assert (code_ranges(graph), exact_dtype(graph)) == ({}, torch.float32)


def test_codes_that_are_no_numbers_have_no_range() -> None:
    build = Builder("bits")
    x = build.input("x", TensorType((1, 1, 2, 2), Bipolar()))
    graph = build.graph((build.add(MaxPool2d((2, 2), (2, 2)), (x,), "y"),))
    assert is_quantised(graph)
    assert code_ranges(graph) == {}
    assert evaluate(graph, torch.tensor([[[[0, 0], [1, 0]]]]))[0].tolist() == [[[[1.0]]]]


def test_a_point_far_to_the_right_needs_no_wide_carrier() -> None:
    """Channels of weights near zero have large shifts; their halves are far above any sum and cannot be reached."""
    shift = (4, 100)
    graph = chain(Int(12, True, shift, 1), (2,), Requantise(Int(8), shift))
    assert exact_dtype(graph) == torch.float32
    x = torch.tensor([[-2048, -2048], [2047, 2047], [8, 8], [-8, -8], [7, 7], [-9, -9]])
    assert evaluate(graph, x)[0].tolist() == [[-128, 0], [127, 0], [1, 0], [0, 0], [0, 0], [-1, 0]]


def test_storage_of_extremes() -> None:
    number = Int(62)
    data = torch.tensor([number.lo, number.hi], dtype=storage_dtype(number))
    build = Builder("wide")
    graph = build.graph((build.constant("w", TensorType((2,), number), data),))
    assert code_ranges(graph) == {"w": (-(2**61), 2**61 - 1)}
