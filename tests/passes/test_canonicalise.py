"""Each rule of the canonical form: the graph before, the operations after, the same values and nothing left to do."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, evaluate, print_graph
from bitkiln.ir.ops import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Div,
    Expand,
    Linear,
    MaxPool2d,
    Mul,
    Pad,
    PadMode,
    Permute,
    Quantise,
    Relu,
    Requantise,
    Reshape,
    Roll,
    ScaleShift,
    Slice,
)
from bitkiln.passes.canonicalise import canonicalise


class Net(Builder):
    """A Builder that makes up the data of its constants."""

    def weights(self, name: str, *shape: int) -> str:
        return self.constant(name, TensorType(shape, Float(32)), torch.randn(shape))

    def statistics(self, name: str, channels: int) -> tuple[str, ...]:
        """gamma, beta, mean and variance."""
        parts = [self.weights(f"{name}.{part}", channels) for part in ("weight", "bias", "mean")]
        variance = torch.rand(channels) + 0.5
        return (*parts, self.constant(f"{name}.variance", TensorType((channels,), Float(32)), variance))

    def image(self, *shape: int) -> str:
        return self.input("x", TensorType((1, *(shape or (3, 6, 4))), Float(32)))


def conv_bn(net: Net) -> str:
    conv = net.add(Conv2d(), (net.image(), net.weights("c.weight", 5, 3, 3, 3), net.weights("c.bias", 5)), "c")
    return net.add(BatchNorm(1e-3), (conv, *net.statistics("n", 5)), "n")


def conv_bn_without_bias(net: Net) -> str:
    conv = net.add(Conv2d(), (net.image(), net.weights("c.weight", 5, 3, 3, 3)), "c")
    return net.add(BatchNorm(), (conv, *net.statistics("n", 5)), "n")


def conv_bn_bn_and_scale(net: Net) -> str:
    twice = net.add(BatchNorm(), (conv_bn(net), *net.statistics("m", 5)), "m")
    return net.add(ScaleShift(), (twice, net.weights("s", 5), net.weights("t", 5)), "scale")


def linear_bn(net: Net) -> str:
    linear = net.add(Linear(), (net.image(7), net.weights("l.weight", 4, 7)), "l")
    return net.add(BatchNorm(), (linear, *net.statistics("n", 4)), "n")


def linear_bn_over_tokens(net: Net) -> str:
    linear = net.add(Linear(), (net.image(4, 7), net.weights("l.weight", 4, 7)), "l")
    return net.add(BatchNorm(), (linear, *net.statistics("n", 4)), "n")


def bn_alone(net: Net) -> str:
    return net.add(BatchNorm(), (net.image(), *net.statistics("n", 3)), "n")


def bn_of_shared_conv(net: Net) -> str:
    conv = net.add(Conv2d(), (net.image(), net.weights("c.weight", 3, 3, 1, 1)), "c")
    return net.add(Add(), (conv, net.add(BatchNorm(), (conv, *net.statistics("n", 3)), "n")), "sum")


def bn_behind_a_reshape_that_does_nothing(net: Net) -> str:
    conv = net.add(Conv2d(), (net.image(), net.weights("c.weight", 3, 3, 1, 1)), "c")
    view = net.add(Reshape((1, 3, 6, 4)), (conv,), "v")
    return net.add(BatchNorm(), (view, *net.statistics("n", 3)), "n")


def two_bns_share_one_weight(net: Net) -> str:
    x, weight = net.image(), net.weights("c.weight", 3, 3, 1, 1)
    for name in ("a", "b"):
        x = net.add(BatchNorm(), (net.add(Conv2d(), (x, weight), name), *net.statistics(f"{name}.n", 3)), f"{name}n")
    return x


def constants(net: Net) -> str:
    computed = net.add(Relu(), (net.add(Add(), (net.weights("a", 3, 6, 4), net.weights("b", 4)), "c"),), "d")
    return net.add(Add(), (net.image(), computed), "e")


def reshapes(net: Net) -> str:
    flat = net.add(Reshape((1, 72)), (net.image(),), "a")
    return net.add(Reshape((1, 24, 3)), (net.add(Reshape((1, 8, 9)), (flat,), "b"),), "c")


def round_trip(net: Net) -> str:
    there = net.add(Reshape((1, 72)), (net.add(Relu(), (net.image(),), "r"),), "a")
    return net.add(Reshape((1, 3, 6, 4)), (there,), "b")


def pools_of_one(net: Net) -> str:
    x = net.add(AdaptiveAvgPool2d((6, 4)), (net.add(Relu(), (net.image(),), "r"),), "a")
    x = net.add(MaxPool2d((1, 1), (1, 1)), (net.add(AvgPool2d((1, 1), (1, 1)), (x,), "b"),), "c")
    return net.add(Clip(-math.inf, math.inf), (net.add(Concat(1), (x,), "d"),), "e")


def divided_pool(net: Net) -> str:
    return net.add(AvgPool2d((1, 1), (1, 1), divisor=2), (net.image(),), "a")


def chain(*ops: Relu | Clip) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        x = net.image()
        for op in ops:
            x = net.add(op, (x,), "y")
        return x

    return make


def moves_of_ones(net: Net) -> str:
    there = net.add(Permute((0, 2, 1, 3)), (net.image(1, 6, 4),), "p")
    return net.add(Relu(), (there,), "r")


def permutes(net: Net) -> str:
    once = net.add(Permute((0, 2, 3, 1)), (net.image(),), "p")
    return net.add(Permute((0, 2, 1, 3)), (once,), "q")


def permutes_back(net: Net) -> str:
    once = net.add(Permute((0, 2, 3, 1)), (net.add(Relu(), (net.image(),), "r"),), "p")
    return net.add(Permute((0, 3, 1, 2)), (once,), "q")


def still(net: Net) -> str:
    x = net.add(Slice(2, 0, 6), (net.add(Relu(), (net.image(),), "r"),), "a")
    x = net.add(Pad(((0, 0), (0, 0), (0, 0))), (net.add(Roll((6, -4), (2, 3)), (x,), "b"),), "c")
    return net.add(Expand((1, 3, 6, 4)), (x,), "d")


def padded_conv(net: Net) -> str:
    x = net.add(Pad(((0, 0), (1, 2), (3, 0))), (net.image(),), "p")
    return net.add(Conv2d(padding=((1, 1), (0, 0))), (x, net.weights("c.weight", 5, 3, 3, 3)), "c")


def conv_with_another_border(pad: Pad) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        x = net.add(pad, (net.image(),), "p")
        return net.add(Conv2d(), (x, net.weights("c.weight", 5, x_channels(net, x), 3, 3)), "c")

    return make


def x_channels(net: Net, x: str) -> int:
    return net.types[x].shape[1]


def expanded_operand(net: Net) -> str:
    x = net.image()
    small = net.add(Slice(2, 0, 1), (x,), "s")
    return net.add(Mul(), (net.add(Expand((1, 3, 6, 4)), (small,), "e"), x), "m")


def expanded_operands(net: Net) -> str:
    big = net.add(Expand((1, 3, 6, 4)), (net.image(3, 1, 4),), "e")
    return net.add(Div(), (big, big), "m")


CASES: tuple[tuple[str, Callable[[Net], str], list[str]], ...] = (
    ("conv bn", conv_bn, ["conv2d"]),
    ("conv bn without bias", conv_bn_without_bias, ["conv2d"]),
    ("conv bn bn scale", conv_bn_bn_and_scale, ["conv2d"]),
    ("linear bn", linear_bn, ["linear"]),
    ("linear bn over tokens", linear_bn_over_tokens, ["linear", "scale_shift"]),
    ("bn alone", bn_alone, ["scale_shift"]),
    ("bn of shared conv", bn_of_shared_conv, ["conv2d", "scale_shift", "add"]),
    ("bn behind reshape", bn_behind_a_reshape_that_does_nothing, ["conv2d"]),
    ("shared weight", two_bns_share_one_weight, ["conv2d", "conv2d"]),
    ("constants", constants, ["add"]),
    ("reshapes", reshapes, ["reshape"]),
    ("round trip", round_trip, ["relu"]),
    ("pools of one", pools_of_one, ["relu"]),
    ("divided pool", divided_pool, ["avg_pool2d"]),
    ("moves of ones", moves_of_ones, ["reshape", "relu"]),
    ("permutes", permutes, ["permute"]),
    ("permutes back", permutes_back, ["relu"]),
    ("nothing moves", still, ["relu"]),
    ("padded conv", padded_conv, ["conv2d"]),
    ("border of ones", conv_with_another_border(Pad(((0, 0), (1, 1), (1, 1)), value=1.0)), ["pad", "conv2d"]),
    ("mirrored border", conv_with_another_border(Pad(((0, 0), (1, 1), (1, 1)), PadMode.REFLECT)), ["pad", "conv2d"]),
    ("channels added", conv_with_another_border(Pad(((0, 1), (0, 0), (0, 0)))), ["pad", "conv2d"]),
    ("cut off", conv_with_another_border(Pad(((0, 0), (-1, 1), (0, 0)))), ["pad", "conv2d"]),
    ("expanded operand", expanded_operand, ["slice", "mul"]),
    ("expanded operands", expanded_operands, ["expand", "div"]),
    ("relu relu", chain(Relu(), Relu()), ["relu"]),
    ("relu clip", chain(Relu(), Clip(-1.0, 0.5)), ["clip"]),
    ("clip relu", chain(Clip(-0.5, 0.5), Relu()), ["clip"]),
    ("clip relu same", chain(Clip(0.25, 0.5), Relu()), ["clip"]),
    ("clips apart", chain(Clip(-2.0, -1.0), Clip(0.5, 0.75)), ["clip", "clip"]),
    ("relu from clips", chain(Clip(-1.0, math.inf), Relu()), ["relu"]),
)


def build(make: Callable[[Net], str]) -> Graph:
    net = Net("net")
    return net.graph((make(net),))


def value(graph: Graph, x: Tensor) -> Tensor:
    return evaluate(graph, x)[0]


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rule(make: Callable[[Net], str], expected: list[str]) -> None:
    graph = build(make)
    result = canonicalise(graph)
    assert [node.op.name for node in result.nodes] == expected
    x = torch.randn(3, *graph.inputs[0].type.shape[1:])
    torch.testing.assert_close(value(result, x), value(graph, x), rtol=1e-5, atol=1e-5)
    assert canonicalise(result) is result


def test_the_folded_layer_keeps_the_names_of_the_convolution() -> None:
    assert print_graph(canonicalise(build(conv_bn))) == (
        "graph net\n"
        "%x = input : f32[1,3,6,4]\n"
        "%c.weight = const : f32[5,3,3,3]\n"
        "%c.bias = const : f32[5]\n"
        "%c = conv2d(%x, %c.weight, %c.bias) : f32[1,5,4,2]\n"
        "return %c\n"
    )


def test_the_graph_before_is_untouched() -> None:
    graph = build(conv_bn)
    before = {const.name: const.data.clone() for const in graph.consts}
    canonicalise(graph)
    assert all(torch.equal(graph.const[name].data, data) for name, data in before.items())


def test_a_convolution_that_is_an_output_is_not_folded() -> None:
    net = Net("net")
    norm = conv_bn(net)
    graph = canonicalise(net.graph(("c", norm)))
    assert [node.op.name for node in graph.nodes] == ["conv2d", "scale_shift"]


def test_an_input_may_become_the_output() -> None:
    net = Net("net")
    same = net.add(Reshape((1, 3, 6, 4)), (net.image(),), "same")
    assert canonicalise(net.graph((same,))).outputs == ("x",)


def test_codes_stay_as_they_are() -> None:
    net = Net("net")
    codes = net.add(Quantise(Int(8, True, 4)), (net.image(),), "q")
    codes = net.add(Requantise(Int(6, False, 3), (1,)), (net.add(Relu(), (codes,), "r"),), "s")
    graph = net.graph((codes,))
    assert canonicalise(graph) is graph
