from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bitkiln.ir import Graph, Int, ToolError, evaluate, print_graph
from bitkiln.ir.ops import Add, Linear, Relu, Reshape, TopK
from bitkiln.passes import Calibration, LayerBits, Quantise

from .networks import Network, context, mlp, samples


def quantised(graph: Graph, options: Quantise, x: Tensor | None = None) -> Graph:
    x = samples(graph) if x is None else x
    return options.run(graph, context(graph, x, torch.zeros(len(x), dtype=torch.int64)))


def bits(graph: Graph, name: str) -> int:
    return graph.types[name].number.bits


def test_the_whole_text_of_a_small_network() -> None:
    network = Network((2,))
    weight = torch.tensor([[0.5, -0.25], [1.0, 1.0], [-2.0, 0.5]])
    y = network.op(Reshape((1, 2)), network.x)
    bias = network.const("fc.bias", torch.tensor([0.5, 0.0, 1.0]))
    y = network.op(Relu(), y)
    graph = network.graph(network.op(Linear(), y, network.const("fc.weight", weight), bias, name="fc"))
    x = torch.tensor([[0.0, 1.0], [0.5, 1.5]])
    assert print_graph(quantised(graph, Quantise(weight_bits=4, calibration=Calibration.MIN_MAX), x)) == (
        "graph tiny\n"
        "%x = input : f32[1,2]\n"
        "%fc.weight = const : i4.f[3,2,2]@0[3,2]\n"
        "%fc.bias = const : i11.f[10,9,9]@0[3]\n"
        '%x_quantise = quantise(%x) {number="u8.f7"} : u8.f7[1,2]\n'
        '%reshape = reshape(%x_quantise) {shape=[1,2]} : u8.f7[1,2] @ "model.py":7 "layers.reshape"\n'
        "%fc = linear(%reshape, %fc.weight, %fc.bias) "
        ': i14.f[10,9,9]@1[1,3] @ "model.py":7 "layers.fc"\n'
        '%fc_requantise = requantise(%fc) {number="i16.f13", shift=[-3,-4,-4]} '
        ': i16.f13[1,3] @ "model.py":7 "layers.fc"\n'
        "%fc_dequantise = dequantise(%fc_requantise) {frac=[13]} : f32[1,3]\n"
        "return %fc_dequantise\n"
    )


@pytest.mark.parametrize("calibration", list(Calibration))
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("width", [2, 4, 8, 12, 16])
def test_the_difference_to_floats_stays_below_the_steps_of_the_formats(
    width: int, per_channel: bool, calibration: Calibration
) -> None:
    graph = mlp((6, 8, 3))
    options = Quantise(width, width, width, width, calibration, per_channel=per_channel)
    codes = quantised(graph, options)
    x = samples(graph, 200, seed=5)
    difference = (evaluate(codes, x)[0] - evaluate(graph, x)[0]).abs()
    assert bool((difference <= error_bound(graph, codes, x)).all())


def error_bound(graph: Graph, codes: Graph, x: Tensor) -> Tensor:
    """Bound on |codes - floats| after fc1, relu1, fc2: the error that comes in times the weights, the rounding of the
    weights times what comes in, the rounding of the bias, and the rounding or saturation of the result."""

    def value(name: str) -> Tensor:
        number = codes.types[name].number
        assert isinstance(number, Int)
        steps = 2.0 ** -torch.tensor(number.fracs, dtype=torch.float32)
        return codes.const[name].data * steps.reshape(-1, *[1] * (codes.const[name].data.dim() - 1))

    def rounding(exact: Tensor, name: str) -> Tensor:
        number = codes.types[name].number
        assert isinstance(number, Int)
        step = 2.0 ** -number.fracs[0]
        over = torch.maximum(exact - number.hi * step, number.lo * step - exact).clamp(min=0)
        return step / 2 + over

    float_graph = Graph(graph.name, graph.inputs, graph.consts, graph.nodes, ("fc1", "relu1", "fc2"))
    fc1, relu1, fc2 = evaluate(float_graph, x)
    error, incoming = rounding(x, "x_quantise"), x
    for layer, outgoing, name in (("fc1", fc1.relu(), "relu1"), ("fc2", fc2, "fc2_requantise")):
        weight, bias = graph.const[f"{layer}.weight"].data, graph.const[f"{layer}.bias"].data
        rounded = value(f"{layer}.weight")
        error = (
            error @ rounded.abs().T
            + incoming.abs() @ (rounded - weight).abs().T
            + (value(f"{layer}.bias") - bias).abs()
        )
        error = error + rounding(outgoing, name) + 1e-5
        incoming = relu1
    return error


def test_more_bits_come_nearer() -> None:
    graph = mlp((6, 8, 3))
    x = samples(graph, 200)
    expected = evaluate(graph, x)[0]
    errors = [
        float((evaluate(quantised(graph, Quantise(width, width, width)), x)[0] - expected).square().mean())
        for width in (2, 4, 6, 8, 12, 16)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6 < errors[0]


def test_widths_of_input_inside_and_output() -> None:
    graph = quantised(mlp((6, 8, 8, 3)), Quantise(3, 5, 7, 11))
    names = ("x_quantise", "fc1.weight", "relu1", "fc3.weight", "fc3_requantise")
    assert [bits(graph, name) for name in names] == [7, 3, 5, 3, 11]


def test_the_input_is_unsigned_if_no_sample_is_negative() -> None:
    graph = mlp()
    options = Quantise(input_bits=4)
    assert quantised(graph, options, samples(graph, signed=False)).types["x_quantise"].number == Int(4, False, 4)
    assert quantised(graph, options, samples(graph)).types["x_quantise"].number == Int(4, True, 1)


def test_an_output_behind_an_argmax_has_the_output_width() -> None:
    network = Network((4,))
    graph = network.graph(network.op(TopK(), network.linear(network.x, 3, "fc")))
    assert bits(quantised(graph, Quantise(activation_bits=4, output_bits=10)), "fc_requantise") == 10


def test_an_output_that_a_layer_reads_too_has_the_inner_width() -> None:
    network = Network((4,))
    y = network.linear(network.x, 3, "y")
    graph = quantised(network.graph(y, network.linear(y, 3, "z")), Quantise(activation_bits=6))
    assert [bits(graph, name) for name in ("y_requantise", "z_requantise")] == [6, 16]


def test_layers_get_other_widths_by_name_or_module_path_and_the_last_entry_counts() -> None:
    network = Network((4,))
    y = network.op(Relu(), network.linear(network.x, 4, "fc1"))
    z = network.op(Add(), network.linear(y, 4, "fc2"), y)
    graph = network.graph(network.linear(z, 3, "fc3"))
    layers = (
        LayerBits("fc?", weight_bits=3),
        LayerBits("layers.fc1", weight_bits=2, activation_bits=5),
        LayerBits("add", activation_bits=7),
        LayerBits("fc3", activation_bits=9),
    )
    codes = quantised(graph, Quantise(layers=layers))
    names = ("fc1.weight", "relu", "fc2.weight", "fc2_requantise", "add_requantise", "fc3.weight", "fc3_requantise")
    assert [bits(codes, name) for name in names] == [2, 5, 3, 8, 7, 3, 9]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quantise(weight_bits=1), "weight_bits must be between 2 and 16, not 1"),
        (lambda: Quantise(activation_bits=17), "activation_bits must be between 2 and 16, not 17"),
        (lambda: Quantise(input_bits=0), "input_bits must be between 2 and 16, not 0"),
        (lambda: Quantise(output_bits=-4), "output_bits must be between 2 and 16, not -4"),
        (
            lambda: LayerBits("conv*", weight_bits=40),
            "weight_bits of the layers 'conv*' must be between 2 and 16, not 40",
        ),
        (
            lambda: LayerBits("conv*", activation_bits=0),
            "activation_bits of the layers 'conv*' must be between 2 and 16, not 0",
        ),
        (lambda: Quantise(percentile=101.0), "percentile must be between 50 and 100, not 101"),
    ],
)
def test_options_out_of_range_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        make()
    assert str(caught.value) == f"error[number-range]: {message}"


def test_weights_have_no_percentile() -> None:
    with pytest.raises(ToolError) as caught:
        Quantise(weight_calibration=Calibration.PERCENTILE)
    assert str(caught.value) == (
        "error[bad-value]: weight_calibration must be min_max or mse, not percentile\n"
        "  help: a layer has too few weights to leave some out"
    )


def test_patterns_that_match_no_layer_are_all_named() -> None:
    layers = (LayerBits("fc1", weight_bits=4), LayerBits("fx2", weight_bits=4), LayerBits("relu*", activation_bits=4))
    with pytest.raises(ToolError) as caught:
        quantised(mlp(), Quantise(layers=layers))
    assert str(caught.value) == (
        "error[unknown-layer]: No layer of tiny matches 'fx2'\n"
        "  help: did you mean fc2? Known: fc1, fc2, layers.fc1, layers.fc2\n"
        "error[unknown-layer]: No layer of tiny matches 'relu*'\n"
        "  help: known: fc1, fc2, layers.fc1, layers.fc2"
    )


def test_calibration_data_of_another_shape() -> None:
    with pytest.raises(ToolError) as caught:
        quantised(mlp(), Quantise(), torch.zeros(4, 1, 6))
    assert str(caught.value) == (
        "error[input-mismatch]: The calibration data has samples of shape [1, 6]; tiny takes [6]"
    )


def test_no_calibration_data() -> None:
    with pytest.raises(ToolError) as caught:
        quantised(mlp(), Quantise(), torch.zeros(0, 6))
    assert str(caught.value) == ("error[empty-data]: The calibration data is empty; at least one sample [6] is needed")
