"""Rules that join what exporters take apart: the operations after, the same values, nothing left to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bitkiln.ir import Builder, Float, Graph, TensorType, evaluate
from bitkiln.ir.ops import Add, Conv2d, HardSigmoid, Linear, Mul, Relu, Sigmoid
from bitkiln.passes.canonicalise import canonicalise


class Net(Builder):
    """A Builder that makes up the data of its constants."""

    def weights(self, name: str, *shape: int) -> str:
        return self.constant(name, TensorType(shape, Float(32)), torch.randn(shape))

    def image(self, *shape: int) -> str:
        return self.input("x", TensorType((1, *shape), Float(32)))

    def conv(self, *, bias: bool = False) -> str:
        constants = [self.weights("c.weight", 5, 3, 3, 3), *([self.weights("c.bias", 5)] if bias else [])]
        return self.add(Conv2d(), (self.image(3, 6, 4), *constants), "c")


def conv_plus(*shape: int, bias: bool = False) -> Callable[[Net], str]:
    return lambda net: net.add(Add(), (net.conv(bias=bias), net.weights("b", *shape)), "sum")


def plus_conv(net: Net) -> str:
    return net.add(Add(), (net.weights("b", 5, 1, 1), net.conv()), "sum")


def linear_plus(*shape: int) -> Callable[[Net], str]:
    def make(net: Net) -> str:
        linear = net.add(Linear(), (net.image(4, 7), net.weights("l.weight", 6, 7)), "l")
        return net.add(Add(), (linear, net.weights("b", *shape)), "sum")

    return make


def shared_conv(net: Net) -> str:
    conv = net.conv()
    return net.add(Mul(), (net.add(Add(), (conv, net.weights("b", 5, 1, 1)), "sum"), conv), "m")


def residual(net: Net) -> str:
    return net.add(Add(), (net.conv(), net.add(Relu(), ("c",), "r")), "sum")


def twice(net: Net) -> str:
    once = net.add(Add(), (net.conv(), net.weights("b", 5, 1, 1)), "sum")
    return net.add(Add(), (once, net.weights("d", 1, 5, 1, 1)), "sum2")


def conv_times(*shape: int, bias: bool = False) -> Callable[[Net], str]:
    return lambda net: net.add(Mul(), (net.conv(bias=bias), net.weights("f", *shape)), "m")


def scale_layer(net: Net) -> str:
    factor = net.add(Mul(), (net.conv(), net.weights("f", 5, 1, 1)), "m")
    return net.add(Add(), (factor, net.weights("b", 5, 1, 1)), "sum")


def tied_weights(net: Net) -> str:
    x, weight = net.image(3, 6, 4), net.weights("c.weight", 3, 3, 1, 1)
    first = net.add(Mul(), (net.add(Conv2d(), (x, weight), "a"), net.weights("f", 3, 1, 1)), "m")
    return net.add(Conv2d(), (first, weight), "b")


def gated(net: Net) -> str:
    x = net.image(5)
    return net.add(Mul(), (net.add(Sigmoid(), (x,), "s"), x), "m")


def hard_gated(net: Net) -> str:
    x = net.image(5)
    return net.add(Mul(), (x, net.add(HardSigmoid(), (x,), "s")), "m")


def gate_read_twice(net: Net) -> str:
    return net.add(Add(), (gated(net), "s"), "sum")


def gated_by_another(net: Net) -> str:
    x = net.image(5)
    return net.add(Mul(), (net.add(Sigmoid(), (net.add(Relu(), (x,), "r"),), "s"), x), "m")


CASES: tuple[tuple[str, Callable[[Net], str], list[str]], ...] = (
    ("conv bias", conv_plus(5, 1, 1), ["conv2d"]),
    ("conv second bias", conv_plus(1, 5, 1, 1, bias=True), ["conv2d"]),
    ("conv number", conv_plus(1), ["conv2d"]),
    ("bias first", plus_conv, ["conv2d"]),
    ("biases", twice, ["conv2d"]),
    ("along the width", conv_plus(2), ["conv2d", "add"]),
    ("a whole image", conv_plus(5, 4, 2), ["conv2d", "add"]),
    ("linear bias", linear_plus(6), ["linear"]),
    ("linear positions", linear_plus(4, 1), ["linear", "add"]),
    ("shared conv", shared_conv, ["conv2d", "add", "mul"]),
    ("residual", residual, ["conv2d", "relu", "add"]),
    ("factor", conv_times(5, 1, 1), ["conv2d"]),
    ("factor of conv with bias", conv_times(1, 5, 1, 1, bias=True), ["conv2d"]),
    ("factor along the width", conv_times(2), ["conv2d", "mul"]),
    ("factor, then bias", scale_layer, ["conv2d"]),
    ("tied weights", tied_weights, ["conv2d", "conv2d"]),
    ("silu", gated, ["silu"]),
    ("hard swish", hard_gated, ["hard_swish"]),
    ("gate read twice", gate_read_twice, ["sigmoid", "silu", "add"]),
    ("another gate", gated_by_another, ["relu", "sigmoid", "mul"]),
)


@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rule(make: Callable[[Net], str], expected: list[str]) -> None:
    net = Net("net")
    graph = net.graph((make(net),))
    result = canonicalise(graph)
    assert [node.op.name for node in result.nodes] == expected
    x = torch.randn(3, *graph.inputs[0].type.shape[1:])
    torch.testing.assert_close(_value(result, x), _value(graph, x), rtol=1e-5, atol=1e-5)
    assert canonicalise(result) is result


def _value(graph: Graph, x: torch.Tensor) -> torch.Tensor:
    return evaluate(graph, x)[0]


def test_the_bias_is_called_after_the_weight() -> None:
    net = Net("net")
    graph = canonicalise(net.graph((plus_conv(net),)))
    assert [const.name for const in graph.consts] == ["c.weight", "c.bias"]
