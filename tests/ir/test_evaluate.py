from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitkiln.ir import (
    Builder,
    Float,
    Graph,
    Int,
    TensorType,
    ToolError,
    evaluate,
    evaluate_batches,
    exact_dtype,
    storage_dtype,
)
from bitkiln.ir.ops import Add, Conv2d, Linear, MaxPool2d, Op, Quantise, Relu, Requantise, Reshape, SumPool2d
from tests.ir import integer_reference as reference
from tests.ir.random_graphs import graphs, random_codes, random_input

SEEDS = st.integers(0, 2**32 - 1)


def ints(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def constant(build: Builder, name: str, number: Int, codes: Tensor) -> str:
    return build.constant(name, TensorType(tuple(codes.shape), number), codes.to(storage_dtype(number)))


def one(op: Op, shape: tuple[int, ...], number: Int, *consts: tuple[Int, Tensor]) -> Graph:
    """A graph of one operation on codes x and constants."""
    build = Builder("one")
    args = (build.input("x", TensorType(shape, number)), *(constant(build, "c", *const) for const in consts))
    return build.graph((build.add(op, args, "y"),))


def check(graph: Graph, x: Tensor, expected: reference.Codes) -> None:
    """The graph gives the expected codes for codes x, in every carrier that is exact, and the dtype is that carrier."""
    (y,) = evaluate(graph, x)
    assert y.dtype == exact_dtype(graph)
    assert (reference.codes(y) == expected).all()
    (wide,) = evaluate(graph, x.to(torch.float64))
    assert wide.dtype == torch.float64
    assert (reference.codes(wide) == expected).all()


@settings(max_examples=60)
@given(st.integers(1, 24), st.integers(1, 16), st.booleans(), ints(1, 8), st.booleans(), SEEDS)
def test_linear_on_codes(x_bits: int, w_bits: int, signed: bool, sizes: tuple[int, int], bias: bool, seed: int) -> None:
    x_number, w_number, b_number = Int(x_bits, signed, 3), Int(w_bits, True, 2), Int(30, True, 5)
    x = random_codes((2, 3, sizes[0]), x_number, seed)
    w = random_codes(sizes[::-1], w_number, seed + 1)
    b = random_codes(sizes[1:], b_number, seed + 2)
    graph = one(Linear(), (1, 3, sizes[0]), x_number, (w_number, w), *([(b_number, b)] * bias))
    expected = reference.linear(reference.codes(x), reference.codes(w), reference.codes(b) if bias else None)
    check(graph, x, expected)


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 12), st.booleans(), st.integers(1, 12)),
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.booleans()),
    st.tuples(ints(1, 3), ints(1, 3), ints(1, 2)),
    st.tuples(ints(0, 2), ints(0, 2)),
    SEEDS,
)
def test_conv2d_on_codes(
    bits: tuple[int, bool, int],
    channels: tuple[int, int, int, bool],
    window: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    padding: tuple[tuple[int, int], tuple[int, int]],
    seed: int,
) -> None:
    groups, depth, filters, bias = channels
    kernel, stride, dilation = window
    x_number, w_number, b_number = Int(bits[0], bits[1], 3), Int(bits[2], True, 2), Int(20, True, 5)
    shape = (1, groups * depth, 5, 6)
    x = random_codes((3, *shape[1:]), x_number, seed)
    w = random_codes((groups * filters, depth, *kernel), w_number, seed + 1)
    b = random_codes((groups * filters,), b_number, seed + 2)
    op = Conv2d(stride, padding, dilation, groups)
    graph = one(op, shape, x_number, (w_number, w), *([(b_number, b)] * bias))
    exact_bias = reference.codes(b) if bias else None
    expected = reference.conv2d(reference.codes(x), reference.codes(w), exact_bias, stride, padding, dilation, groups)
    check(graph, x, expected)


@settings(max_examples=60)
@given(st.integers(1, 22), st.booleans(), ints(1, 3), ints(1, 3), ints(0, 1), st.booleans(), SEEDS)
def test_sum_pool_on_codes(
    bits: int,
    signed: bool,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil_mode: bool,
    seed: int,
) -> None:
    padding = (min(padding[0], kernel[0] // 2), min(padding[1], kernel[1] // 2))
    number = Int(bits, signed)
    graph = one(SumPool2d(kernel, stride, padding, ceil_mode), (1, 2, 5, 4), number)
    x = random_codes((3, 2, 5, 4), number, seed)
    shape = (3, *graph.types["y"].shape[1:])
    check(graph, x, reference.sum_pool2d(reference.codes(x), kernel, stride, padding, shape))


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), ints(0, 8), st.booleans(), SEEDS)
def test_add_on_codes(x_bits: int, y_bits: int, shifts: tuple[int, int], signed: bool, seed: int) -> None:
    x_number, y_number = Int(x_bits, signed, 5 - shifts[0]), Int(y_bits, not signed, 5 - shifts[1])
    x, y = random_codes((4, 3, 2), x_number, seed), random_codes((1, 3, 1), y_number, seed + 1)
    graph = one(Add(shifts), (1, 3, 2), x_number, (y_number, y))
    number = graph.types["y"].number
    assert isinstance(number, Int)
    assert number.frac == 5
    check(graph, x, reference.add(reference.codes(x), reference.codes(y), shifts))


def requantised(x_number: Int, op: Requantise) -> Graph:
    return one(op, (1, max(1, len(x_number.fracs)), 7), x_number)


def interesting(number: Int, op: Requantise, channels: int, seed: int) -> Tensor:
    """Codes at the ends, around 0, random ones, and ones whose quotient is nearest to a half."""
    generator = torch.Generator().manual_seed(seed)
    codes = {0, 1, -1, number.lo, number.lo + 1, number.hi, number.hi - 1}
    for _ in range(12):
        codes.add(int(torch.randint(number.lo, number.hi + 1, (), generator=generator)))
    for shift in op.shift:
        half = 1 << max(0, shift - 1)
        for quotient in (0, 1, -1, op.limits[1], op.limits[0], (number.hi * op.multiplier) >> max(shift, 0)):
            near = (quotient * 2 * half + half) // op.multiplier
            codes.update((near - 1, near, near + 1))
    valid = sorted(code for code in codes if number.lo <= code <= number.hi)
    valid += [0] * (-len(valid) % 7)
    samples = torch.tensor(valid, dtype=torch.int64).reshape(-1, 1, 7)
    return samples.expand(-1, channels, 7)


def check_requantise(number: Int, op: Requantise, seed: int) -> None:
    graph = requantised(number, op)
    x = interesting(number, op, len(number.fracs), seed)
    check(graph, x, reference.requantise(reference.codes(x), op.shift, op.multiplier, *op.limits))


@settings(max_examples=150)
@given(
    st.integers(1, 53),
    st.booleans(),
    st.lists(st.integers(-12, 60), min_size=1, max_size=3),
    st.integers(1, 2**12),
    st.integers(1, 24),
    st.booleans(),
    SEEDS,
)
def test_requantise_on_codes(
    bits: int, per_channel: bool, shifts: list[int], multiplier: int, out_bits: int, signed: bool, seed: int
) -> None:
    bits = min(bits, 53 - multiplier.bit_length())
    shift = tuple(shifts) if per_channel else (shifts[0],)
    number = Int(bits, signed, shift if per_channel else shift[0], 1 if per_channel else None)
    out = Int(out_bits, seed % 2 == 0)
    check_requantise(number, Requantise(out, shift, multiplier, 0, out.hi // 2 if seed % 3 == 0 else None), seed)


@pytest.mark.parametrize("bits", [23, 24, 25, 26, 51, 52, 53])
@pytest.mark.parametrize("signed", [False, True])
def test_requantise_where_the_carrier_ends(bits: int, signed: bool) -> None:
    for shift in (*range(-3, 3), *range(bits - 4, bits + 4), 100, 200):
        for multiplier in (1, 3):
            if (1 << (bits - signed)) * 2 * multiplier <= 1 << 53:
                check_requantise(Int(bits, signed, shift), Requantise(Int(24, True), (shift,), multiplier), shift + 9)


def test_requantise_by_hand() -> None:
    graph = requantised(Int(8, True, 2), Requantise(Int(4, True), (2,)))
    x = torch.tensor([[[-128, -7, -6, -5, -2, -1, 0]], [[1, 2, 3, 5, 6, 29, 127]]])
    # x / 4, halves up: -6 / 4 = -1.5 -> -1, 2 / 4 = 0.5 -> 1, 6 / 4 = 1.5 -> 2; 29 / 4 = 7.25 -> 7; ends saturate.
    assert evaluate(graph, x)[0].tolist() == [[[-8, -2, -1, -1, 0, 0, 0]], [[0, 1, 1, 1, 2, 7, 7]]]


def sums(bits: int, weights: list[int], bias: int | None = None) -> Graph:
    """sum(w * x) + bias of unsigned x."""
    w = torch.tensor([weights])
    number = Int(54)
    consts = [(number, w)] if bias is None else [(number, w), (number, torch.tensor([bias]))]
    build = Builder("sums")
    args = (
        build.input("x", TensorType((1, len(weights)), Int(bits, False))),
        *(constant(build, "c", *c) for c in consts),
    )
    return build.graph((build.add(Linear(), args, "y"),))


@pytest.mark.parametrize(
    ("weights", "bias", "dtype"),
    [
        ([2**23, 2**23], None, torch.float32),
        ([2**23, 2**23, 1], None, torch.float64),
        ([2**23, 2**23, -1], None, torch.float32),
        ([-(2**24)], None, torch.float32),
        ([-(2**24), -1], None, torch.float64),
        ([-(2**24), -1, -1, -1], 2**23, torch.float64),  # the sum would fit, but not the sum before the bias
        ([1], 2**24, torch.float64),
        ([1], 2**24 - 1, torch.float32),
        ([2**52, 2**52], None, torch.float64),
        ([-(2**52), -(2**52)], None, torch.float64),
    ],
)
def test_sums_where_the_carrier_ends(weights: list[int], bias: int | None, dtype: torch.dtype) -> None:
    graph = sums(1, weights, bias)
    assert exact_dtype(graph) == dtype
    x = torch.cartesian_prod(*[torch.tensor([0, 1])] * len(weights)).reshape(-1, len(weights))
    expected = reference.linear(
        reference.codes(x),
        reference.codes(torch.tensor([weights])),
        None if bias is None else reference.codes(torch.tensor([bias])),
    )
    check(graph, x, expected)


@pytest.mark.parametrize(
    ("weights", "bias", "largest"),
    [
        ([2**52, 2**52, 1], None, 2**53 + 1),
        ([-(2**52), -(2**52), -1], None, 2**53 + 1),
        ([-(2**52), -(2**52), -3], 2**50, 2**53 + 3),
        ([2**52, 2**52], 1, 2**53 + 1),
    ],
)
def test_beyond_the_last_carrier(weights: list[int], bias: int | None, largest: int) -> None:
    graph = sums(1, weights, bias)
    message = (
        f"error[accumulator-too-wide]: sums needs integers up to {largest}; exact evaluation ends at 2**53\n"
        "  help: use fewer bits for weights or activations"
    )
    for dtype in (torch.int64, torch.float32, torch.float64):
        with pytest.raises(ToolError, match=f"^{re.escape(message)}$"):
            evaluate(graph, torch.ones(1, len(weights), dtype=dtype))


def big_convolution() -> tuple[Graph, Tensor]:
    """A 3x3 convolution whose sums may reach almost 2**24."""
    number = Int(8)
    w = random_codes((16, 113, 3, 3), number, 5)
    build = Builder("big")
    x = build.input("x", TensorType((1, 113, 8, 8), Int(7, False)))
    y = build.add(Conv2d(padding=((1, 1), (1, 1))), (x, constant(build, "w", number, w)), "y")
    return build.graph((y,)), random_codes((17, 113, 8, 8), Int(7, False), 6)


def test_convolution_is_exact_in_float32_in_every_mode_of_torch() -> None:
    graph, x = big_convolution()
    assert exact_dtype(graph) == torch.float32
    (expected,) = evaluate(graph, x.double())
    assert expected.abs().max() > 2**19
    assert torch.equal(evaluate(graph, x)[0].double(), expected)
    with torch.autocast("cpu"):
        assert torch.equal(evaluate(graph, x)[0].double(), expected)
    # Without oneDNN, torch would take the Winograd transforms of NNPACK for batches of 16 and more.
    enabled = torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        assert torch.equal(evaluate(graph, x)[0].double(), expected)
    finally:
        torch._C._set_mkldnn_enabled(enabled)


def exact_values(graph: Graph) -> set[str]:
    """The codes that were computed from codes alone."""
    exact = {value.name for value in graph.inputs if isinstance(value.type.number, Int)} | set(graph.const)
    for node in graph.nodes:
        if isinstance(node.type.number, Int) and exact.issuperset(node.args):
            exact.add(node.name)
    return exact


@settings(max_examples=100)
@given(graphs(), SEEDS)
def test_random_graphs(graph: Graph, seed: int) -> None:
    """Shapes are those of the types; codes are whole, in their format, and the same in every carrier and batch."""
    graph = replace(graph, outputs=tuple(node.name for node in graph.nodes) or graph.outputs)
    inputs = random_input(graph, 3, seed)
    singles = [evaluate(graph, *(x[i : i + 1] for x in inputs)) for i in range(3)]
    wide = evaluate(graph, *(x.double() for x in inputs))
    for position, (name, value) in enumerate(zip(graph.outputs, evaluate(graph, *inputs), strict=True)):
        type_ = graph.types[name]
        assert tuple(value.shape[1:]) == type_.shape[1:]
        if isinstance(type_.number, Int):
            assert torch.equal(value, value.floor())
            assert type_.number.lo <= value.min()
            assert value.max() <= type_.number.hi
        if name in exact_values(graph):
            assert torch.equal(value.double(), wide[position])
            assert name in graph.const or torch.equal(value, torch.cat([single[position] for single in singles]))


@given(graphs(), SEEDS)
def test_no_samples_give_no_results(graph: Graph, seed: int) -> None:
    for name, value in zip(graph.outputs, evaluate(graph, *random_input(graph, 0, seed)), strict=True):
        assert name in graph.const or tuple(value.shape) == (0, *graph.types[name].shape[1:])


def float_cnn() -> tuple[Graph, torch.nn.Module]:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    )
    build = Builder("cnn")
    data = {name.replace(".", "_"): value.detach() for name, value in module.named_parameters()}
    const = {name: build.constant(name, TensorType(tuple(x.shape), Float()), x) for name, x in data.items()}
    x = build.input("x", TensorType((1, 2, 8, 8), Float()))
    x = build.add(Conv2d((2, 2), ((1, 1), (1, 1)), groups=2), (x, const["0_weight"], const["0_bias"]), "conv")
    x = build.add(MaxPool2d((2, 2), (2, 2)), (build.add(Relu(), (x,), "relu"),), "pool")
    x = build.add(Reshape((1, 16)), (x,), "flat")
    return build.graph((build.add(Linear(), (x, const["4_weight"], const["4_bias"]), "fc"),)), module


def test_floats_are_what_torch_computes() -> None:
    graph, module = float_cnn()
    x = torch.randn(5, 2, 8, 8)
    torch.testing.assert_close(evaluate(graph, x)[0], module(x))
    (wide,) = evaluate(graph, x.double())
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide, module.double()(x.double()))


def test_batches_are_put_together() -> None:
    graph, _ = float_cnn()
    x = torch.randn(7, 2, 8, 8)
    torch.testing.assert_close(evaluate_batches(graph, x, 3), evaluate(graph, x)[0].detach())
    assert evaluate_batches(graph, x).shape == (7, 3)
    assert evaluate_batches(graph, x[:0]).shape == (0, 3)
    assert not evaluate_batches(graph, x.requires_grad_()).requires_grad


def test_training_reaches_replaced_constants() -> None:
    graph, _ = float_cnn()
    shadow = graph.const["4_weight"].data.clone().requires_grad_()
    x = torch.randn(5, 2, 8, 8)
    evaluate(graph, x, consts={"4_weight": shadow})[0].sum().backward()
    (features,) = evaluate(replace(graph, outputs=("flat",)), x)
    assert shadow.grad is not None
    torch.testing.assert_close(shadow.grad, features.sum(0).expand(3, 16))
    assert not graph.const["4_weight"].data.requires_grad


def quantised_linear() -> Graph:
    """x -> u4.f2, times codes 2, -1 at frac 1, -> u3.f1."""
    build = Builder("qat")
    x = build.add(Quantise(Int(4, False, 2)), (build.input("x", TensorType((1, 2), Float())),), "codes")
    y = build.add(Linear(), (x, constant(build, "w", Int(3, True, 1), torch.tensor([[2, -1]]))), "acc")
    return build.graph((build.add(Requantise(Int(3, False, 1), (2,)), (y,), "y"),))


def test_gradients_pass_rounding_and_stop_at_saturation() -> None:
    graph = quantised_linear()
    shadow = graph.const["w"].data.float().requires_grad_()
    x = torch.tensor([[1.0, 0.3], [0.5, 3.0], [9.0, 0.5]]).requires_grad_()
    (y,) = evaluate(graph, x, consts={"w": shadow})
    # Codes of x: (4, 1), (2, 12), (15 saturated from 36, 2); sums 7, -8, 28; y: 7 / 4 -> 2, -2 -> 0 saturated, 7.
    assert y.detach().tolist() == [[2.0], [0.0], [7.0]]
    y.sum().backward()
    assert x.grad is not None
    assert shadow.grad is not None
    # d y / d code = w / 4 and d code / d x = 4 where nothing saturates.
    assert x.grad.tolist() == [[2.0, -1.0], [0.0, 0.0], [0.0, -1.0]]
    assert shadow.grad.tolist() == [[(4 + 15) / 4, (1 + 2) / 4]]


def test_replacement_must_be_of_the_constants_shape() -> None:
    graph = quantised_linear()
    with pytest.raises(AssertionError, match=r"%w is replaced by a tensor of \[2\]"):
        evaluate(graph, torch.zeros(1, 2), consts={"w": torch.zeros(2)})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3), "input %x takes samples of shape [2] behind a batch axis, not a tensor of [2, 3]"),
        (torch.zeros(2), "input %x takes samples of shape [2] behind a batch axis, not a tensor of [2]"),
        (torch.tensor(0), "input %x takes samples of shape [2] behind a batch axis, not a tensor of []"),
        (torch.tensor([[0, 16]]), "input %x takes codes of u4.f0 from 0 to 15, not 0 to 16"),
        (torch.tensor([[-1, 3]]), "input %x takes codes of u4.f0 from 0 to 15, not -1 to 3"),
        (torch.tensor([[0, float("nan")]]), "input %x takes codes of u4.f0 from 0 to 15, not nan to nan"),
        (torch.tensor([[0, 0.5]]), "input %x takes whole codes of u4.f0, not fractions"),
    ],
)
def test_wrong_input(x: Tensor, message: str) -> None:
    graph = one(Add(), (1, 2), Int(4, False), (Int(4), torch.ones(1, 2, dtype=torch.int8)))
    with pytest.raises(ToolError, match=f"^{re.escape(f'error[input-mismatch]: {message}')}$"):
        evaluate(graph, x)


def test_number_and_batch_of_inputs() -> None:
    build = Builder("two")
    a, b = (build.input(name, TensorType((1, 2), Float())) for name in "ab")
    graph = build.graph((build.add(Add(), (a, b), "y"),))
    with pytest.raises(ToolError, match=r"^error\[input-mismatch\]: two takes 2 inputs, not 1$"):
        evaluate(graph, torch.zeros(1, 2))
    with pytest.raises(ToolError, match=r"^error\[input-mismatch\]: all inputs need the same batch, not \[3, 1\]$"):
        evaluate(graph, torch.zeros(3, 2), torch.zeros(1, 2))


def test_inputs_of_every_dtype() -> None:
    graph, _ = float_cnn()
    x = torch.randint(0, 9, (2, 2, 8, 8))
    expected = evaluate(graph, x.float())[0]
    for dtype in (torch.uint8, torch.int64, torch.float16, torch.bfloat16):
        assert torch.equal(evaluate(graph, x.to(dtype))[0], expected)


def test_outputs_may_be_inputs_and_constants() -> None:
    graph = replace(quantised_linear(), outputs=("x", "w", "codes", "codes"))
    x = torch.tensor([[1.0, 0.3]])
    values = [value.tolist() for value in evaluate(graph, x)]
    assert values == [x.tolist(), [[2.0, -1.0]], [[4.0, 1.0]], [[4.0, 1.0]]]


def test_relu_of_codes_is_relu_of_values() -> None:
    graph = one(Relu(), (1, 4), Int(4, True, 2))
    assert evaluate(graph, torch.tensor([[-8, -1, 0, 7]]))[0].tolist() == [[0, 0, 0, 7]]
