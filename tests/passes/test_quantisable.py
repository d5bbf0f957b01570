from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bitkiln.ir import Graph, ToolError
from bitkiln.ir.ops import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Exp,
    Linear,
    Pad,
    Relu,
)
from bitkiln.passes import Quantise

from .networks import Network, context, mlp


def error(graph: Graph) -> str:
    with pytest.raises(ToolError) as caught:
        Quantise().run(graph, context(graph, y=torch.zeros(1, dtype=torch.int64)))
    return str(caught.value)


def test_what_is_fixed_point_already_is_not_quantised_again() -> None:
    graph = mlp()
    assert error(Quantise().run(graph, context(graph))) == (
        "error[already-quantised]: tiny is fixed point already\n  help: put quantise only once into [passes]"
    )


def test_every_unsupported_operation_is_named_with_its_place() -> None:
    network = Network((2, 5, 5))
    parameters = [network.const(name, torch.ones(2)) for name in ("gamma", "beta", "mean", "variance")]
    y = network.op(BatchNorm(), network.x, *parameters)
    assert error(network.graph(network.op(AdaptiveAvgPool2d((3, 3)), y))) == (
        "error[unsupported-op]: %batch_norm: batch_norm has no integer form\n"
        "  --> model.py:7 (layers.batch_norm)\n"
        "  help: put canonicalise before quantise: it folds batch norm into the layer before it\n"
        "error[unsupported-op]: %adaptive_avg_pool2d: adaptive_avg_pool2d has no integer form, "
        "because its windows differ in size\n"
        "  --> model.py:7 (layers.adaptive_avg_pool2d)\n"
        "  help: make the input's height and width multiples of the output's: then it is an average pooling"
    )


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (
            AvgPool2d((2, 2), (2, 2), (1, 1), count_include_pad=False),
            "avg_pool2d with padding that does not count divides the windows at the edge by other numbers\n"
            "  --> model.py:7 (layers.avg_pool2d)\n"
            "  help: set count_include_pad=True, or padding=0",
        ),
        (
            AvgPool2d((2, 2), (2, 2), ceil_mode=True),
            "avg_pool2d with ceil_mode has windows that reach over the edge and are divided by other numbers\n"
            "  --> model.py:7 (layers.avg_pool2d)\n"
            "  help: set ceil_mode=False",
        ),
    ],
)
def test_average_pooling_with_several_divisors(op: AvgPool2d, message: str) -> None:
    network = Network((2, 5, 5))
    expected = f"error[unsupported-op]: %avg_pool2d: {message}"
    assert error(network.graph(network.op(op, network.x))) == expected


@pytest.mark.parametrize("op", [AvgPool2d((2, 2), (2, 2), (1, 1)), AvgPool2d((2, 2), (1, 1), ceil_mode=True)])
def test_average_pooling_with_one_divisor(op: AvgPool2d) -> None:
    network = Network((2, 5, 5))
    graph = network.graph(network.op(op, network.x))
    codes = Quantise().run(graph, context(graph, y=torch.zeros(1, dtype=torch.int64)))
    assert codes.node["avg_pool2d"].op.name == "sum_pool2d"


@pytest.mark.parametrize(("lo", "hi"), [(-3.0, 3.0), (0.5, 2.0), (-2.0, -1.0), (-0.3, 1.0)])
def test_clips_whose_ends_no_format_has(lo: float, hi: float) -> None:
    network = Network((3,))
    assert error(network.graph(network.op(Clip(lo, hi), network.x))) == (
        f"error[unsupported-op]: %clip: clip from {lo:g} to {hi:g} has no integer form: "
        "it must go from 0 or minus a power of two to a number that is not negative\n"
        "  --> model.py:7 (layers.clip)"
    )


def test_padding_with_other_numbers_than_0() -> None:
    network = Network((3,))
    assert error(network.graph(network.op(Pad(((1, 1),), value=0.5), network.x))) == (
        "error[unsupported-op]: %pad: pad with 0.5 has no integer form; only with 0\n  --> model.py:7 (layers.pad)"
    )


def test_operations_without_an_integer_form() -> None:
    network = Network((3,))
    assert error(network.graph(network.op(Exp(), network.x))) == (
        "error[unsupported-op]: %exp: exp has no integer form\n  --> model.py:7 (layers.exp)\n"
        "  help: say it with operations that units take (`bitkiln list ops`), or compute it on the host"
    )


def product_of_values(network: Network) -> str:
    return network.op(Linear(), network.x, network.op(Relu(), network.const("w", torch.ones(2, 3))), name="y")


def product_of_a_constant(network: Network) -> str:
    y = network.op(Linear(), network.const("c", torch.ones(1, 3)), network.const("w", torch.ones(2, 3)), name="y")
    return network.op(Add(), y, network.linear(network.x, 2, "z"), name="sum")


@pytest.mark.parametrize("make", [product_of_values, product_of_a_constant])
def test_weights_must_be_constant_and_the_input_not(make: Callable[[Network], str]) -> None:
    network = Network((3,))
    assert (
        "error[unsupported-op]: %y: linear needs constant weights and an input that is none\n"
        "  --> model.py:7 (layers.y)"
    ) in error(network.graph(make(network)))


def test_constants_elsewhere() -> None:
    network = Network((3,))
    assert error(network.graph(network.op(Add(), network.x, network.const("c", torch.ones(1, 3))))) == (
        "error[unsupported-op]: %add: add of a constant has no integer form\n"
        "  --> model.py:7 (layers.add)\n"
        "  help: add constants as a layer's bias"
    )
