"""The form of quantised graphs, which hardware generation relies on: one test a rule, on the text of the nodes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Graph, Int, TensorType, evaluate, parse_type, print_node
from bitkiln.ir.ops import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Flip,
    Linear,
    MaxPool2d,
    Op,
    Pad,
    Permute,
    Relu,
    Requantise,
    Reshape,
    Roll,
    ScaleShift,
    Slice,
    Take,
    TopK,
)
from bitkiln.passes import Calibration, Quantise

from .networks import Network, context, samples

MIN_MAX = Quantise(calibration=Calibration.MIN_MAX, weight_calibration=Calibration.MIN_MAX)


def quantised(graph: Graph, x: Tensor | None = None, options: Quantise = MIN_MAX) -> Graph:
    return options.run(graph, context(graph, samples(graph) if x is None else x, torch.zeros(1, dtype=torch.int64)))


def lines(graph: Graph) -> list[str]:
    """The nodes as text, without their places."""
    return [print_node(node).split(" @ ")[0] for node in graph.nodes]


def scalar(weight: float, bias: float, op: Op | None = None) -> Graph:
    """x * weight + bias on one feature, and an activation behind it."""
    network = Network((1,))
    weight_name, bias_name = network.const("w", torch.tensor([[weight]])), network.const("b", torch.tensor([bias]))
    y = network.op(Linear(), network.x, weight_name, bias_name, name="y")
    return network.graph(network.op(op, y) if op else y)


def test_a_layer_is_product_and_one_requantisation() -> None:
    graph = quantised(scalar(0.75, -0.25), torch.tensor([[0.0], [1.0]]))
    assert lines(graph) == [
        '%x_quantise = quantise(%x) {number="u8.f7"} : u8.f7[1,1]',
        "%y = linear(%x_quantise, %w, %b) : i17.f[14]@1[1,1]",
        '%y_requantise = requantise(%y) {number="i16.f15", shift=[-1]} : i16.f15[1,1]',
        "%y_dequantise = dequantise(%y_requantise) {frac=[15]} : f32[1,1]",
    ]
    assert (graph.const["w"].type, graph.const["w"].data.tolist()) == (parse_type("i8.f[7]@0[1,1]"), [[96]])
    assert (graph.const["b"].type, graph.const["b"].data.tolist()) == (parse_type("i13.f[14]@0[1]"), [-4096])
    assert evaluate(graph, torch.tensor([[0.5], [0.0]]))[0].tolist() == [[0.125], [-0.25]]


def test_relu_becomes_an_unsigned_requantisation() -> None:
    graph = quantised(scalar(1.0, 0.0, Relu()), torch.tensor([[-1.0], [1.0]]))
    assert lines(graph)[1:] == [
        "%y = linear(%x_quantise, %w, %b) : i16.f[12]@1[1,1]",
        '%relu = requantise(%y) {number="u16.f15", shift=[-3]} : u16.f15[1,1]',
        "%relu_dequantise = dequantise(%relu) {frac=[15]} : f32[1,1]",
    ]
    assert str(graph.node["relu"].loc) == "model.py:7 (layers.relu)"


def test_clip_ends_at_the_code_of_its_upper_end() -> None:
    options = Quantise(output_bits=8, calibration=Calibration.MIN_MAX)
    graph = quantised(scalar(1.0, 0.0, Clip(0.0, 6.0)), torch.tensor([[-9.0], [9.0]]), options)
    assert lines(graph)[2] == '%clip = requantise(%y) {number="u8.f5", shift=[4], hi=192} : u8.f5[1,1]'
    x = torch.tensor([[-1.0], [3.0], [7.5]])
    assert evaluate(graph, x)[0].tolist() == [[0.0], [3.0], [6.0]]


def test_hardtanh_ends_at_the_ends_of_its_format() -> None:
    options = Quantise(output_bits=8, calibration=Calibration.MIN_MAX)
    graph = quantised(scalar(1.0, 0.0, Clip(-1.0, 1.0)), torch.tensor([[-9.0], [9.0]]), options)
    assert lines(graph)[2] == '%clip = requantise(%y) {number="i8.f7", shift=[2]} : i8.f7[1,1]'
    x = torch.tensor([[-3.0], [0.5], [3.0]])
    assert evaluate(graph, x)[0].tolist() == [[-1.0], [0.5], [127 / 128]]


def test_an_upper_end_alone_needs_no_lower_one() -> None:
    options = Quantise(output_bits=8, calibration=Calibration.MIN_MAX)
    graph = quantised(scalar(1.0, 0.0, Clip(-math.inf, 1.5)), torch.tensor([[-3.0], [3.0]]), options)
    assert lines(graph)[2] == '%clip = requantise(%y) {number="i8.f5", shift=[6], hi=48} : i8.f5[1,1]'


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Relu(), '%relu = requantise(%y_requantise) {number="u15.f12", shift=[0]} : u15.f12[1,1]'),
        (Clip(0.0, 2.0), '%clip = requantise(%y_requantise) {number="u15.f12", shift=[0], hi=8192} : u15.f12[1,1]'),
        (Clip(-1.0, 2.0), '%clip = requantise(%y_requantise) {number="i13.f12", shift=[0]} : i13.f12[1,1]'),
        (Clip(-8.0, 2.0), '%clip = requantise(%y_requantise) {number="i16.f12", shift=[0], hi=8192} : i16.f12[1,1]'),
        (
            Clip(-math.inf, 2.0),
            '%clip = requantise(%y_requantise) {number="i16.f12", shift=[0], hi=8192} : i16.f12[1,1]',
        ),
    ],
)
def test_an_activation_whose_argument_others_read_is_its_own_requantisation(op: Op, expected: str) -> None:
    network = Network((1,))
    y = network.op(Linear(), network.x, network.const("w", torch.tensor([[1.0]])), name="y")
    graph = quantised(network.graph(y, network.op(op, y)), torch.tensor([[-5.0], [5.0]]))
    assert expected in lines(graph)


@pytest.mark.parametrize("op", [Relu(), Clip(0.0, 0.5)])
def test_an_activation_behind_max_pooling_joins_the_layer_before(op: Op) -> None:
    network = Network((1, 4, 4))
    pooled = network.op(MaxPool2d((2, 2), (2, 2)), network.conv(network.x, 2, "conv", size=1))
    flat = network.op(op, network.op(Reshape((1, 8)), pooled), name="act")
    graph = network.graph(flat, network.linear(flat, 3, "fc"))
    codes = quantised(graph)
    names = ["x_quantise", "conv", "act", "max_pool2d", "reshape", "fc", "fc_requantise"]
    assert [node.name for node in codes.nodes][:7] == names
    assert str(codes.types["act"]).startswith("u8.")
    x = samples(graph)
    assert float((evaluate(codes, x)[0] - evaluate(graph, x)[0]).abs().max()) < 0.05


def test_an_activation_stays_behind_a_pooling_that_others_read() -> None:
    network = Network((1, 4, 4))
    pooled = network.op(MaxPool2d((2, 2), (2, 2)), network.conv(network.x, 2, "conv", size=1))
    codes = quantised(network.graph(pooled, network.op(Relu(), pooled)))
    names = ["x_quantise", "conv", "conv_requantise", "max_pool2d", "relu", "max_pool2d_dequantise", "relu_dequantise"]
    assert [node.name for node in codes.nodes] == names


@pytest.mark.parametrize(
    "op",
    [
        Permute((0, 2, 1, 3)),
        Slice(1, 0, 2, 1),
        Pad(((0, 0), (1, 0), (0, 2))),
        Roll((1,), (2,)),
        Flip((3,)),
        Take(2, (1, 1, 0)),
    ],
)
def test_moves_stay_on_codes(op: Op) -> None:
    network = Network((3, 2, 2))
    graph = quantised(network.graph(network.op(op, network.x)))
    assert [node.op.name for node in graph.nodes] == ["quantise", op.name, "dequantise"]
    assert graph.types[op.name].number == graph.types["x_quantise"].number


def test_relu_of_unsigned_codes_is_nothing() -> None:
    network = Network((1,))
    graph = quantised(network.graph(network.op(Relu(), network.x)), torch.tensor([[0.0], [1.0]]))
    assert [node.op.name for node in graph.nodes] == ["quantise", "dequantise"]


def test_add_aligns_the_points_and_takes_the_relu_along() -> None:
    network = Network((1,))
    big = network.op(Linear(), network.x, network.const("big.weight", torch.tensor([[4.0]])), name="big")
    small = network.op(Linear(), network.x, network.const("small.weight", torch.tensor([[0.5]])), name="small")
    total = network.op(Add(), big, small)
    graph = quantised(network.graph(network.op(Relu(), total)), torch.tensor([[-1.0], [1.0]]))
    assert lines(graph)[-3:] == [
        "%add = add(%big_requantise, %small_requantise) {shifts=[3,0]} : i12.f7[1,1]",
        '%relu = requantise(%add) {number="u16.f13", shift=[-6]} : u16.f13[1,1]',
        "%relu_dequantise = dequantise(%relu) {frac=[13]} : f32[1,1]",
    ]


def test_operands_of_add_that_are_far_apart_are_brought_nearer() -> None:
    network = Network((1,))
    big = network.op(Linear(), network.x, network.const("big.weight", torch.tensor([[2.0**20]])), name="big")
    small = network.op(Linear(), network.x, network.const("small.weight", torch.tensor([[2.0**-9]])), name="small")
    graph = quantised(network.graph(network.op(Add(), big, small)), torch.tensor([[-1.0], [1.0]]))
    assert lines(graph)[-4:] == [
        '%small_requantise_for_add = requantise(%small_requantise) {number="i8.f2", shift=[13]} : i8.f2[1,1]',
        "%add = add(%big_requantise, %small_requantise_for_add) {shifts=[16,0]} : i25.f2[1,1]",
        '%add_requantise = requantise(%add) {number="i16.f-6", shift=[8]} : i16.f-6[1,1]',
        "%add_dequantise = dequantise(%add_requantise) {frac=[-6]} : f32[1,1]",
    ]


@pytest.mark.parametrize(
    ("op", "requantise"),
    [
        (AvgPool2d((2, 2), (2, 2)), '{number="u8.f7", shift=[2], multiplier_frac=2}'),
        (AvgPool2d((4, 4), (4, 4)), '{number="u8.f7", shift=[4], multiplier_frac=4}'),
        (AvgPool2d((2, 2), (2, 2), divisor=1), '{number="u8.f5", shift=[2]}'),
        (
            AvgPool2d((3, 3), (1, 1), padding=(1, 1)),
            '{number="u8.f7", shift=[15], multiplier=3641, multiplier_frac=15}',
        ),
    ],
)
def test_average_pooling_is_sum_and_reciprocal(op: AvgPool2d, requantise: str) -> None:
    network = Network((2, 4, 4))
    x = torch.ones(3, 2, 4, 4)
    options = Quantise(output_bits=8, calibration=Calibration.MIN_MAX)
    graph = quantised(network.graph(network.op(op, network.x)), x, options)
    assert [node.op.name for node in graph.nodes] == ["quantise", "sum_pool2d", "requantise", "dequantise"]
    assert f"requantise(%avg_pool2d) {requantise} : " in lines(graph)[2]
    codes = torch.randint(0, 129, (50, 2, 4, 4), generator=torch.Generator().manual_seed(3))
    step = 2.0 ** -int(requantise.split(".f")[1][0])
    means = torch.floor(op.evaluate(codes / 128.0) / step + 0.5) * step
    assert torch.equal(evaluate(graph, codes / 128)[0], means)


def test_pooling_reshape_and_argmax_stay_on_codes() -> None:
    network = Network((2, 4, 4))
    pooled = network.op(MaxPool2d((2, 2), (2, 2)), network.x)
    flat = network.op(Reshape((1, 8)), pooled)
    graph = quantised(network.graph(network.op(TopK(), flat)))
    assert lines(graph) == [
        '%x_quantise = quantise(%x) {number="i8.f5"} : i8.f5[1,2,4,4]',
        "%max_pool2d = max_pool2d(%x_quantise) {kernel=[2,2], stride=[2,2]} : i8.f5[1,2,2,2]",
        "%reshape = reshape(%max_pool2d) {shape=[1,8]} : i8.f5[1,8]",
        "%top_k = top_k(%reshape) : u3.f0[1]",
    ]


def test_what_only_concat_reads_is_written_in_its_format() -> None:
    network = Network((1, 2, 2))
    small = network.op(Relu(), network.conv(network.x, 2, "small", size=1), name="relu_small")
    big = network.conv(network.x, 3, "big", size=1)
    pooled = network.op(MaxPool2d((1, 1), (1, 1)), network.op(Relu(), big, name="relu_big"))
    graph = quantised(network.graph(network.conv(network.op(Concat(), small, pooled), 2, "last", size=1)))
    number = graph.types["concat"].number
    assert {str(graph.types[name].number) for name in ("relu_small", "relu_big", "max_pool2d")} == {str(number)}
    assert [node.op.name for node in graph.nodes].count("requantise") == 3


def test_other_arguments_of_concat_are_requantised() -> None:
    network = Network((1, 2, 2))
    y = network.op(Relu(), network.conv(network.x, 2, "y", size=1))
    both = network.op(Concat(), y, network.x)
    graph = quantised(network.graph(network.op(Concat(), both, y, name="again")))
    assert [line.split(" {")[0] for line in lines(graph)[3:]] == [
        "%relu_for_concat = requantise(%relu)",
        "%concat = concat(%relu_for_concat, %x_quantise) : i8.f5[1,3,2,2]",
        "%concat_for_again = requantise(%concat)",
        "%relu_for_again = requantise(%relu)",
        "%again = concat(%concat_for_again, %relu_for_again) : i16.f13[1,5,2,2]",
        "%again_dequantise = dequantise(%again)",
    ]


def test_scale_and_shift_is_a_depthwise_convolution() -> None:
    network = Network((3, 2, 2))
    scale, shift = network.const("scale", torch.tensor([1.0, 0.5, -2.0])), network.const("shift", torch.ones(3))
    graph = network.graph(network.op(ScaleShift(), network.x, scale, shift))
    x = samples(graph)
    codes = quantised(graph, x)
    assert (
        lines(codes)[1] == "%scale_shift = conv2d(%x_quantise, %scale, %shift) {groups=3} : i16.f[11,12,11]@1[1,3,2,2]"
    )
    assert codes.const["scale"].type == parse_type("i8.f[6,7,6]@0[3,1,1,1]")
    assert float((evaluate(codes, x)[0] - evaluate(graph, x)[0]).abs().max()) < 2**-4


def test_scale_and_shift_of_features_goes_through_an_image() -> None:
    network = Network((3,))
    scale, shift = network.const("scale", torch.tensor([1.0, 0.5, -2.0])), network.const("shift", torch.ones(3))
    graph = network.graph(network.op(ScaleShift(), network.x, scale, shift))
    codes = quantised(graph)
    assert [node.type.shape for node in codes.nodes] == [
        (1, 3),
        (1, 3, 1, 1),
        (1, 3, 1, 1),
        (1, 3, 1, 1),
        (1, 3),
        (1, 3),
    ]
    x = samples(graph)
    assert float((evaluate(codes, x)[0] - evaluate(graph, x)[0]).abs().max()) < 2**-4


def test_linear_on_rows_has_one_point_for_all_weights() -> None:
    network = Network((4, 3))
    graph = quantised(network.graph(network.linear(network.x, 5, "rows")))
    assert graph.types["rows.weight"].number == Int(8, True, 6)
    assert graph.types["rows"].shape == (1, 4, 5)


def test_layers_that_share_weights_share_their_codes() -> None:
    network = Network((3,))
    weight, bias = network.const("w", network.random(3, 3)), network.const("b", network.random(3))
    first = network.op(Linear(), network.x, weight, bias, name="first")
    second = network.op(Linear(), first, weight, bias, name="second")
    graph = quantised(network.graph(second))
    assert [const.name for const in graph.consts] == ["w", "b", "b.second"]


def test_a_value_with_two_outputs_is_dequantised_for_each() -> None:
    network = Network((3,))
    y = network.linear(network.x, 2, "y")
    graph = quantised(network.graph(y, network.op(Relu(), y), network.x))
    assert graph.outputs == ("y_dequantise", "relu_dequantise", "x_dequantise")
    assert [graph.types[name] for name in graph.outputs] == [
        TensorType((1, 2), graph.types["x"].number),
        TensorType((1, 2), graph.types["x"].number),
        TensorType((1, 3), graph.types["x"].number),
    ]


def test_every_exact_result_has_one_reader_which_requantises() -> None:
    network = Network((3, 6, 6))
    y = network.op(Relu(), network.conv(network.x, 4, "a", Conv2d(padding=((1, 1), (1, 1)))))
    z = network.conv(y, 4, "b", Conv2d(padding=((1, 1), (1, 1))))
    total = network.op(Relu(), network.op(Add(), z, y), name="relu_2")
    pooled = network.op(AvgPool2d((3, 3), (3, 3)), total)
    graph = quantised(network.graph(network.linear(network.op(Reshape((1, 16)), pooled), 10, "c")))
    exact = [node for node in graph.nodes if node.op.name in ("conv2d", "linear", "add", "sum_pool2d")]
    assert [node.name for node in exact] == ["a", "b", "add", "avg_pool2d", "c"]
    for node in exact:
        assert [type(user.op) for user in graph.users[node.name]] == [Requantise]
