"""What the user is told when there is no plan."""

from __future__ import annotations

import pytest
import torch

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, ToolError, from_plain
from bitkiln.ir.ops import Add, Dequantise, Linear, Mul, Op, Quantise, Relu, Requantise, Sigmoid, Tanh
from bitkiln.ir.units import Storage
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from tests.passes.small_graphs import CODES, at, cnn, mlp


def error(graph: Graph, options: PlanOptions = PlanOptions()) -> str:  # noqa: B008  # frozen
    with pytest.raises(ToolError) as caught:
        schedule(graph, options)
    return str(caught.value)


def test_folding_that_does_not_divide() -> None:
    assert error(mlp((16, 12)), PlanOptions(layers=(LayerFolding("fc1", pe=5),))) == (
        "error[bad-folding]: fc1 cannot be folded with pe = 5\n"
        "  --> model.py:7 (fc1)\n"
        "  help: legal values: 1, 2, 3, 4, 6, 12"
    )


def test_lanes_with_two_numbers() -> None:
    assert error(cnn(), PlanOptions(layers=(LayerFolding("pool1", pe=2, simd=1),))) == (
        "error[bad-folding]: pool1 cannot be folded with pe = 2 with simd = 1\n"
        "  --> model.py:7 (pool1)\n"
        "  help: legal values: pe equal to simd"
    )


def test_layer_that_does_not_exist() -> None:
    assert error(cnn(), PlanOptions(layers=(LayerFolding("conv", pe=2),))) == (
        "error[bad-folding]: no layer is called 'conv'\n  help: did you mean conv1? Known: conv1, fc1, pool1"
    )


def test_storage_of_a_layer_without_weights() -> None:
    assert error(cnn(), PlanOptions(layers=(LayerFolding("pool*", storage=Storage.LUT),))) == (
        "error[bad-folding]: pool1 has no weights to store or multiply"
    )


def test_too_few_multipliers() -> None:
    assert error(cnn(), PlanOptions(max_multipliers=1)) == (
        "error[bad-folding]: max_multipliers is 1, but the layers need at least 2 multipliers\n"
        "  help: allow 2 or more, or choose a board with more"
    )


def test_target_out_of_reach() -> None:
    assert error(cnn(), PlanOptions(target_interval=100)) == (
        "error[bad-folding]: the target_interval of 100 cycles is out of reach with any number of multipliers\n"
        "  help: the least interval is 324 cycles, all of which conv1 takes at any folding"
    )
    assert error(cnn(), PlanOptions(target_interval=400, max_multipliers=4)) == (
        "error[bad-folding]: the target_interval of 400 cycles is out of reach with at most 4 multipliers\n"
        "  help: the least interval is 648 cycles"
    )


def test_rate_out_of_reach() -> None:
    assert error(cnn(), PlanOptions(frames_per_second=100_000)) == (
        "error[bad-folding]: the 100000 frames_per_second at 12 MHz is out of reach with any number of multipliers\n"
        "  help: at most 37037 frames a second, an image every 324 cycles, all of which conv1 takes at any folding"
    )


def test_rate_is_reached_with_as_few_multipliers_as_the_interval() -> None:
    """12 MHz / 25,000 frames a second are 480 cycles."""
    plans = [
        schedule(cnn(), options)
        for options in (PlanOptions(frames_per_second=25_000), PlanOptions(target_interval=480))
    ]
    assert plans[0].multipliers == plans[1].multipliers
    assert dataflow_cycles(plans[0]).interval <= 480


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"clock_mhz": 0.0},
            "error[bad-value]: project.toml [plan]: clock_mhz must be above 0 and finite, not 0.0",
        ),
        (
            {"clock_mhz": float("inf")},
            "error[bad-value]: project.toml [plan]: clock_mhz must be above 0 and finite, not inf",
        ),
        (
            {"max_multipliers": 0},
            "error[bad-value]: project.toml [plan]: max_multipliers must be at least 1, not 0",
        ),
        (
            {"frames_per_second": -3.0},
            "error[bad-value]: project.toml [plan]: "
            "frames_per_second must be at least 1e-06 and at most the clock's 1.2e+07, not -3",
        ),
        (
            {"frames_per_second": 30.0, "target_interval": 100},
            "error[bad-value]: project.toml [plan]: "
            "target_interval and frames_per_second are the same goal: give one of them",
        ),
        ({"dsp": -1}, "error[bad-value]: project.toml [plan]: dsp must be at least 0, not -1"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        from_plain(PlanOptions, options, "project.toml [plan]")
    assert str(caught.value) == message


def test_every_operation_without_a_unit_is_named() -> None:
    known = (
        "add, concat, conv2d, expand, flip, linear, max_pool2d, multi_threshold, pad, permute, relu, "
        "requantise, reshape, resize, roll, slice, sum_pool2d, take, top_k"
    )
    build = Builder("tree")
    x = build.input("x", TensorType((1, 4), CODES))
    y = build.add(Dequantise((4,)), (x,), "values", at("cat"))
    y = build.add(Linear(), (y, build.constant("w", TensorType((4, 4), Float()), torch.ones(4, 4))), "fc", at("fc"))
    y = build.add(Quantise(CODES), (y,), "codes")
    z = build.add(Add(), (x, build.constant("one", TensorType((1, 4), CODES), torch.ones(1, 4, dtype=torch.int8))), "z")
    assert error(build.graph((build.add(Add(), (y, z), "sum"),))) == (
        "error[no-unit]: no hardware unit takes %fc (linear): it computes floats\n"
        "  --> model.py:7 (fc)\n"
        f"  help: operations with units: {known}\n"
        "error[no-unit]: no hardware unit takes %z (add): its argument %one is a constant\n"
        f"  help: operations with units: {known}"
    )


def test_points_a_channel_after_a_product_with_two_users() -> None:
    build = Builder("points")
    x = build.input("x", TensorType((1, 2), CODES))
    w = build.constant("w", TensorType((2, 2), Int(8, True, (1, 2), 0)), torch.ones(2, 2, dtype=torch.int8))
    y = build.add(Linear(), (x, w), "fc")
    a = build.add(Requantise(CODES, (1, 2)), (y,), "a", at("a"))
    b = build.add(Requantise(CODES, (1, 2)), (y,), "b", at("b"))
    assert error(build.graph((build.add(Add(), (a, b), "sum"),))).split("\n")[:3] == [
        "error[no-unit]: no hardware unit takes %a (requantise): "
        "a requantise that stands alone has one shift, not 2 (one a channel)",
        "  --> model.py:7 (a)",
        "  help: let the convolution or linear layer before it have no other user, or quantise its weights per tensor",
    ]


def test_float_graph() -> None:
    build = Builder("floats")
    x = build.input("x", TensorType((1, 4), Float()))
    assert error(build.graph((build.add(Relu(), (x,), "relu"),))) == (
        "error[unsupported-graph]: the float input %x must be quantised first of all, "
        "but its users are: %relu (relu)\n"
        "  help: pass quantise, or input_bits of fake_quantise, or input_threshold of binarise"
    )


def test_two_outputs() -> None:
    build = Builder("heads")
    x = build.input("x", TensorType((1, 4), CODES))
    a, b = (build.add(Relu(), (x,), name) for name in "ab")
    assert error(build.graph((a, b))) == (
        "error[unsupported-graph]: heads has 1 inputs and 2 outputs; hardware has one stream in and one out"
    )


def test_nothing_to_compute() -> None:
    build = Builder("nothing")
    x = build.input("x", TensorType((1, 4), Float()))
    assert error(build.graph((build.add(Quantise(CODES), (x,), "codes"),))) == (
        "error[unsupported-graph]: nothing computes nothing between its input and its output"
    )


def function(op: Op, bits: int = 8, factor: tuple[int, ...] = (1,)) -> Graph:
    """op(x) * factor between codes."""
    build = Builder("function")
    x = build.input("x", TensorType((1, 4), Int(bits)))
    y = build.add(op, (build.add(Dequantise((0,)), (x,), "values"),), "y")
    y = build.add(Mul(), (y, build.constant("k", TensorType(factor, Float()), torch.ones(factor))), "scaled")
    return build.graph((build.add(Quantise(CODES), (y,), "codes", at("act")),))


def test_table_of_too_many_bits() -> None:
    assert error(function(Sigmoid(), bits=11)) == (
        "error[no-unit]: no hardware unit takes %codes (quantise): a table takes codes of at most 10 bits, not 11\n"
        "  --> model.py:7 (act)\n"
        "  help: quantise between the functions, or use fewer bits"
    )


def test_table_of_a_factor_a_channel() -> None:
    assert "%codes (quantise): %scaled (mul) does not treat every element alike" in error(function(Tanh(), factor=(4,)))


def test_product_of_two_values_with_a_scale_between() -> None:
    build = Builder("gate")
    x = build.input("x", TensorType((1, 4), CODES))
    y = build.add(Relu(), (x,), "relu")
    a, b = (build.add(Dequantise((4,)), (value,), f"{value}_values") for value in (x, y))
    gated = build.add(Mul(), (a, build.add(Sigmoid(), (b,), "gate")), "gated")
    assert "it is a function of 2 values, not of one (only products of two have a unit)" in error(
        build.graph((build.add(Quantise(CODES), (gated,), "codes"),))
    )
