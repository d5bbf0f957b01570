"""Random small networks: whatever a float graph is made of, its quantised form is well formed, exact and near it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Graph, Int, code_ranges, evaluate, exact_dtype, parse_graph, print_graph, verify
from bitkiln.ir.ops import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Linear,
    MaxPool2d,
    Relu,
    Requantise,
    Reshape,
    ScaleShift,
    SumPool2d,
)
from bitkiln.passes import Calibration, Quantise, Tune

from .networks import Network, context, samples

LAYERS = ("conv", "grouped", "strided", "max", "mean", "overlapping mean", "relu", "relu6", "hardtanh")
JOINS = ("add", "add relu", "concat", "scale")


def add_layer(network: Network, kind: str, x: str, name: str) -> str:
    """One layer that keeps the number of channels even and the image at least 2x2."""
    channels, height = network.build.types[x].shape[1:3]
    pad = ((1, 1), (1, 1))
    match kind:
        case "grouped":
            return network.conv(x, channels * 2, name, Conv2d(padding=pad, groups=channels))
        case "strided" if height >= 4:
            return network.conv(x, channels, name, Conv2d((2, 2), ((0, 1), (1, 0)), (1, 1)), size=2)
        case "max" if height >= 4:
            return network.op(MaxPool2d((2, 2), (2, 2)), x, name=name)
        case "mean" if height >= 4:
            return network.op(AvgPool2d((2, 2), (2, 2)), x, name=name)
        case "overlapping mean":
            return network.op(AvgPool2d((3, 3), (1, 1), (1, 1)), x, name=name)
        case "relu":
            return network.op(Relu(), x, name=name)
        case "relu6":
            return network.op(Clip(0.0, 6.0), x, name=name)
        case "hardtanh":
            return network.op(Clip(-1.0, 1.0), x, name=name)
        case _:
            return network.conv(x, 4, name, Conv2d(padding=pad, dilation=(1, 1)))


def add_join(network: Network, kind: str, x: str, name: str) -> str:
    channels = network.build.types[x].shape[1]
    if kind == "scale":
        scale = network.const(f"{name}.scale", network.random(channels))
        return network.op(ScaleShift(), x, scale, network.const(f"{name}.shift", network.random(channels)), name=name)
    branch = network.conv(x, channels, f"{name}.branch", Conv2d(padding=((1, 1), (1, 1))))
    if kind == "concat":
        return network.op(Concat(), network.op(Relu(), branch, name=f"{name}.relu"), x, name=name)
    total = network.op(Add(), branch, x, name=name)
    return network.op(Relu(), total, name=f"{name}.relu") if kind == "add relu" else total


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    network = Network((2, draw(st.integers(2, 6)), draw(st.integers(2, 6))), draw(st.integers(0, 1000)))
    x = network.x
    for i, kind in enumerate(draw(st.lists(st.sampled_from(LAYERS + JOINS), min_size=1, max_size=5))):
        x = (add_join if kind in JOINS else add_layer)(network, kind, x, f"layer{i}")
    type_ = network.build.types[x]
    x = network.op(Reshape((1, type_.elements)), x)
    return network.graph(network.linear(x, 3, "last"))


WIDTHS = st.integers(2, 8)


@settings(max_examples=60)
@given(networks(), WIDTHS, WIDTHS, st.sampled_from(Calibration), st.booleans(), st.booleans())
def test_quantised_networks_are_exact(
    graph: Graph,
    weight_bits: int,
    activation_bits: int,
    calibration: Calibration,
    per_channel: bool,
    signed: bool,
) -> None:
    options = Quantise(weight_bits, activation_bits, calibration=calibration, per_channel=per_channel)
    codes = options.run(graph, context(graph, samples(graph, 16, signed)))
    check_form(codes)
    tensors = {const.name: const.data for const in codes.consts}
    assert print_graph(parse_graph(print_graph(codes), tensors)) == print_graph(codes)
    inside = tuple(node.name for node in codes.nodes if not node.type.is_float)
    watched = verify(replace(codes, outputs=inside))
    x = samples(graph, 32, signed, seed=9) * 3
    exact = evaluate(watched, x.double())
    quick = evaluate(watched, x)
    ranges = code_ranges(codes)
    for name, wide, narrow in zip(inside, exact, quick, strict=True):
        assert torch.equal(wide, wide.round()), name
        assert torch.equal(wide, narrow.double()), name
        lo, hi = ranges[name]
        assert lo <= float(wide.min()) <= float(wide.max()) <= hi, name


def check_form(graph: Graph) -> None:
    """Every exact result goes to one requantisation; there are floats only outside of quantise and dequantise."""
    for node in graph.nodes:
        if isinstance(node.op, Conv2d | Linear | Add | SumPool2d):
            assert [type(user.op) for user in graph.users[node.name]] == [Requantise], node.name
        else:
            number = node.type.number
            assert node.op.name == "dequantise" or (isinstance(number, Int) and number.axis is None), node.name
    assert [node.op.name for node in graph.nodes].count("quantise") == 1
    assert all(graph.node[name].op.name == "dequantise" for name in graph.outputs)


@settings(max_examples=30)
@given(networks(), st.booleans())
def test_16_bits_come_near_the_floats(graph: Graph, signed: bool) -> None:
    x = samples(graph, 16, signed)
    codes = Quantise(16, 16, 16, 16, Calibration.MIN_MAX, weight_calibration=Calibration.MIN_MAX).run(
        graph, context(graph, x)
    )
    expected = evaluate(graph, x)[0]
    difference = evaluate(codes, x)[0] - expected
    assert float(difference.abs().max()) <= 2e-3 * (1 + float(expected.abs().max()))


@settings(max_examples=10)
@given(networks())
def test_any_quantised_network_can_be_tuned(graph: Graph) -> None:
    data = context(graph, samples(graph, 40))
    codes = Quantise(weight_bits=3, activation_bits=4).run(graph, data)
    tuned = Tune(epochs=1, batch=20, learning_rate=1e-2).run(codes, data)
    check_form(tuned)
    assert [node.op for node in tuned.nodes] == [node.op for node in codes.nodes]


@pytest.mark.parametrize("bits", [2, 16])
def test_the_narrowest_and_widest_formats(bits: int) -> None:
    network = Network((2, 6, 6))
    y = network.op(Relu(), network.conv(network.x, 4, "conv"))
    graph = network.graph(network.linear(network.op(Reshape((1, 64)), y), 3, "fc"))
    codes = Quantise(bits, bits, bits, bits).run(graph, context(graph))
    assert {str(exact_dtype(codes))} == {"torch.float32" if bits == 2 else "torch.float64"}
    check_form(codes)
