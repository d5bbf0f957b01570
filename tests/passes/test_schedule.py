"""Plans that can be read: which unit, which folding, which streams, and what the user is told when there is no plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Builder, Graph, Int, Plan, TensorType, ToolError, from_plain
from bitkiln.ir.ops import Add, Conv2d, Linear, Relu, Requantise, Reshape, SumPool2d
from bitkiln.ir.units import DspBlock, MatrixVector, Multiplier, Pool, Storage, Unit, Window
from bitkiln.passes._folding import fold
from bitkiln.passes._layers import Folding
from bitkiln.passes._lowering import Lowered, lower
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from tests.passes.random_graphs import networks
from tests.passes.small_graphs import CODES, Layers, at, cnn, mlp, residual, two_convolutions


def described(plan: Plan) -> list[str]:
    """A line a stage: name, kind, what comes in and what goes out."""
    return [
        f"{stage.name}: {stage.unit.kind} {_ports(plan, stage.inputs)} -> {_ports(plan, stage.outputs)} = {stage.node}"
        for stage in plan.stages
    ]


def _ports(plan: Plan, names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {plan.stream[name].beats} of {plan.stream[name].beat}" for name in names)


def unit(plan: Plan, name: str) -> Unit:
    return next(stage.unit for stage in plan.stages if stage.name == name)


def product(plan: Plan, name: str) -> MatrixVector:
    found = unit(plan, name)
    assert isinstance(found, MatrixVector)
    return found


def window(plan: Plan, name: str) -> Window:
    found = unit(plan, name)
    assert isinstance(found, Window)
    return found


def steps(plan: Plan) -> dict[str, int]:
    return {stage.name: max(process.steps for process in stage.unit.timing()) for stage in plan.stages}


def slowest(lowered: Lowered, foldings: Sequence[Folding]) -> int:
    """Interval of the slowest unit, width converters included."""
    result = 0
    lanes: dict[str, int] = {}
    elements = {layer.place.node: layer.place.elements for layer in lowered.layers}
    elements[lowered.input] = len(lowered.input_order)
    for layer, folding in zip(lowered.layers, foldings, strict=True):
        result = max(result, layer.interval(folding))
        for source in layer.place.sources:
            there = lanes.setdefault(source, folding.simd)
            if there != folding.simd:
                result = max(result, elements[source] // math.gcd(there, folding.simd))
        lanes[layer.place.node] = folding.pe
    return result


class TestStructure:
    def test_cnn(self) -> None:
        assert described(schedule(cnn(), PlanOptions(max_multipliers=8))) == [
            "conv1.window: window input 36 of 1 x i8 -> conv1.window 324 of 1 x i8 = image_codes",
            "conv1: matrix_vector conv1.window 324 of 1 x i8 -> conv1 36 of 4 x i8 = conv1_codes",
            "pool1.resize: resize conv1 36 of 4 x i8 -> pool1.resize 144 of 1 x i8 = conv1_codes",
            "pool1.window: window pool1.resize 144 of 1 x i8 -> pool1.window 144 of 1 x i8 = conv1_codes",
            "pool1: pool pool1.window 144 of 1 x i8 -> pool1 36 of 1 x i8 = pool1",
            "fc1: matrix_vector pool1 36 of 1 x i8 -> output 3 of 1 x i8 = fc1_codes",
        ]

    def test_border_values_are_the_codes_between_quantise_and_dequantise(self) -> None:
        plan = schedule(cnn(), PlanOptions())
        assert (plan.input_value, plan.output_value) == ("image_codes", "fc1_codes")
        assert (plan.stream[plan.input_stream].beat.bits, plan.stream[plan.output_stream].beats) == (8, 3)

    def test_residual_forks_the_value_and_adds(self) -> None:
        assert described(schedule(residual(), PlanOptions(layers=(LayerFolding("conv", pe=2, simd=2),)))) == [
            "fork_x: fork input 25 of 2 x i8 -> fork_x.0 25 of 2 x i8, fork_x.1 25 of 2 x i8 = x",
            "conv.window: window fork_x.0 25 of 2 x i8 -> conv.window 225 of 2 x i8 = x",
            "conv: matrix_vector conv.window 225 of 2 x i8 -> conv 25 of 2 x i8 = conv_codes",
            "sum: add fork_x.1 25 of 2 x i8, conv 25 of 2 x i8 -> output 25 of 2 x i8 = sum_codes",
        ]

    def test_lanes_of_which_neither_divides_the_other_meet_at_their_common_divisor(self) -> None:
        options = PlanOptions(layers=(LayerFolding("fc1", pe=4), LayerFolding("fc2", simd=6)))
        assert described(schedule(mlp((2, 12, 1)), options))[1:3] == [
            "fc2.resize: resize fc1 3 of 4 x i8 -> fc2.resize 6 of 2 x i8 = fc1_codes",
            "fc2.resize2: resize fc2.resize 6 of 2 x i8 -> fc2.resize2 2 of 6 x i8 = fc1_codes",
        ]

    def test_product_of_several_users_gives_accumulators_and_a_requantise_of_its_own(self) -> None:
        layers = Layers(Builder("shared"))
        x = layers.build.input("x", TensorType((1, 4), CODES))
        y = layers.product(x, Linear(), "fc", (4, 4), requantised=False)
        codes = layers.requantise(y, "codes", at("fc"))
        wide = layers.build.add(Relu(), (y,), "relu", at("relu"))
        total = layers.build.add(Add(), (codes, wide), "total", at("total"))
        plan = schedule(layers.build.graph((total,)), PlanOptions(layers=(LayerFolding("fc", pe=4, simd=1),)))
        bits = product(plan, "fc").accumulator_bits
        assert [line.split(" =")[0] for line in described(plan)] == [
            f"fc: matrix_vector input 4 of 1 x i8 -> fc 1 of 4 x i{bits}",
            f"fork_fc: fork fc 1 of 4 x i{bits} -> fork_fc.0 1 of 4 x i{bits}, fork_fc.1 1 of 4 x i{bits}",
            f"fc.requantise: requantise fork_fc.0 1 of 4 x i{bits} -> fc.requantise 1 of 4 x i8",
            f"relu: requantise fork_fc.1 1 of 4 x i{bits} -> relu 1 of 4 x i14",
            "total: add fc.requantise 1 of 4 x i8, relu 1 of 4 x i14 -> output 1 of 4 x i15",
        ]
        assert product(plan, "fc").shift == ()

    def test_same_graph_same_plan(self) -> None:
        first, second = (schedule(two_convolutions(), PlanOptions(max_multipliers=20)) for _ in range(2))
        assert described(first) == described(second)
        assert first.streams == second.streams


class TestGeometry:
    def conv(
        self, op: Conv2d, channels: int = 4, filters: int = 4, size: tuple[int, int] = (3, 3), pe: int | None = None
    ) -> Plan:
        layers = Layers(Builder("conv"))
        x = layers.build.input("x", TensorType((1, channels, 6, 5), CODES))
        y = layers.product(x, op, "conv", (filters, channels // op.groups, *size))
        return schedule(layers.build.graph((y,)), PlanOptions(layers=(LayerFolding("conv", pe=pe),)))

    def test_point_convolution_needs_no_window(self) -> None:
        assert [stage.name for stage in self.conv(Conv2d(), size=(1, 1)).stages] == ["conv"]
        assert [stage.name for stage in self.conv(Conv2d(groups=2), size=(1, 1)).stages] == ["conv"]

    def test_strided_point_convolution_needs_a_window(self) -> None:
        plan = self.conv(Conv2d((2, 1)), size=(1, 1))
        assert [stage.name for stage in plan.stages] == ["conv.window", "conv"]
        assert window(plan, "conv.window").buffer_rows == 3

    def test_depthwise_convolution(self) -> None:
        plan = self.conv(Conv2d(groups=4), pe=1)
        found = product(plan, "conv")
        assert (found.vectors, found.groups, found.rows, found.columns) == (12, 4, 1, 9)
        assert (window(plan, "conv.window").groups, window(plan, "conv.window").lanes) == (4, 1)

    def test_a_depthwise_convolution_takes_channels_at_a_time(self) -> None:
        plan = self.conv(Conv2d(groups=4), pe=2)
        found = product(plan, "conv")
        assert (found.groups, found.rows, found.pe, found.simd, found.lanewise) == (2, 2, 2, 1, True)
        assert (found.steps, found.multipliers, found.inputs[0].lanes) == (12 * 2 * 9, 2, 2)
        assert (window(plan, "conv.window").groups, window(plan, "conv.window").lanes) == (2, 2)

    def test_depthwise_products_share_no_input_and_so_no_block(self) -> None:
        layers = Layers(Builder("conv"))
        x = layers.build.input("x", TensorType((1, 4, 6, 5), CODES))
        y = layers.product(x, Conv2d(groups=4), "conv", (4, 1, 3, 3))
        wish = LayerFolding("conv", pe=4, multiplier=Multiplier.PACKED)
        with pytest.raises(ToolError, match="the products of a depthwise layer have different inputs"):
            schedule(layers.build.graph((y,)), PlanOptions(dsp_block=DspBlock.MULT18, layers=(wish,)))

    def test_an_axis_with_one_position_has_stride_1(self) -> None:
        plan = self.conv(Conv2d((3, 2)), size=(6, 3))
        found = window(plan, "conv.window")
        assert (found.output_size, found.stride, found.buffer_rows) == ((1, 2), (1, 2), 7)

    def test_an_axis_with_a_kernel_of_1_has_dilation_1(self) -> None:
        plan = self.conv(Conv2d(dilation=(3, 2)), size=(1, 2))
        assert window(plan, "conv.window").dilation == (1, 2)

    def test_pooling_passes_channel_groups_and_pads_with_the_lowest_code(self) -> None:
        plan = schedule(cnn(), PlanOptions(layers=(LayerFolding("pool1", simd=2),)))
        found = window(plan, "pool1.window")
        assert (found.groups, found.lanes, found.pad_code, found.channels) == (2, 2, -128, 4)

    def test_sum_pool_takes_its_requantise_in(self) -> None:
        build = Builder("mean")
        x = build.input("x", TensorType((1, 2, 4, 4), CODES))
        total = build.add(SumPool2d((4, 4), (4, 4)), (x,), "pool")
        build.add(Requantise(CODES, (4,), multiplier_frac=4), (total,), "mean")
        plan = schedule(build.graph(("mean",)), PlanOptions())
        found = unit(plan, "pool")
        assert isinstance(found, Pool)
        assert found.rescale is not None
        assert (found.window, found.results, found.lanes) == (16, 1, 2)
        assert (found.rescale.shift, found.bits) == (4, 8)


class TestProduct:
    def linear(self, weight: list[list[int]], bias: list[int], shift: tuple[int, ...], number: Int) -> MatrixVector:
        build = Builder("linear")
        x = build.input("x", TensorType((1, len(weight[0])), number))
        point = shift if len(shift) > 1 else shift[0]
        axis = 0 if len(shift) > 1 else None
        codes = torch.tensor(weight, dtype=torch.int8)
        w = build.constant("w", TensorType(tuple(codes.shape), Int(4, True, point, axis)), codes)
        values = torch.tensor(bias, dtype=torch.int8)
        b = build.constant("b", TensorType(tuple(values.shape), Int(8, True, point, axis)), values)
        y = build.add(Linear(), (x, w, b), "fc")
        y = build.add(Requantise(Int(8, True, 0), shift), (y,), "codes")
        return product(schedule(build.graph((y,)), PlanOptions()), "fc")

    def test_bias_carries_each_rows_rounding(self) -> None:
        found = self.linear([[1], [1], [1], [1]], [5, 6, 7, 8], (3, 1, 0, -2), Int(8, False, 0))
        assert found.bias.tolist() == [5 + 4, 6 + 1, 7, 8]
        assert found.shift == (3, 1, 0, -2)

    def test_one_shift_for_all_becomes_one_a_row(self) -> None:
        assert self.linear([[1], [1]], [0, 0], (2,), Int(8, False, 0)).shift == (2, 2)

    @pytest.mark.parametrize(
        ("weight", "bias", "number", "bits"),
        [
            ([[1]], 0, Int(8, False, 0), 9),  # 0 ... 255
            ([[-1]], 0, Int(8, False, 0), 9),  # -255 ... 0
            ([[-1]], 0, Int(8, True, 0), 9),  # -127 ... 128
            ([[1]], 0, Int(8, True, 0), 8),  # -128 ... 127
            ([[1]], 1, Int(8, True, 0), 9),  # -127 ... 128
            ([[7, 7, -8]], 0, Int(2, False, 0), 7),  # -24 ... 42
        ],
    )
    def test_accumulator_is_as_wide_as_its_extremes(
        self, weight: list[list[int]], bias: int, number: Int, bits: int
    ) -> None:
        assert self.linear(weight, [bias], (0,), number).accumulator_bits == bits

    def test_rounding_constant_counts_for_the_accumulator(self) -> None:
        assert self.linear([[1]], [0], (8,), Int(8, False, 0)).accumulator_bits == 10  # 128 ... 383

    def test_flattened_map_permutes_the_columns(self) -> None:
        layers = Layers(Builder("flat"))
        x = layers.build.input("x", TensorType((1, 2, 1, 3), CODES))
        flat = layers.build.add(Reshape((1, 6)), (x,), "flat")
        graph = layers.build.graph((layers.product(flat, Linear(), "fc", (2, 6)),))
        plan = schedule(graph, PlanOptions())
        assert plan.input_order.tolist() == [0, 3, 1, 4, 2, 5]
        weight = graph.const["fc.weight"].data.numpy()
        assert np.array_equal(product(plan, "fc").weights, weight[:, [0, 3, 1, 4, 2, 5]])

    def test_linear_before_a_map_permutes_the_rows(self) -> None:
        layers = Layers(Builder("decoder"))
        x = layers.build.input("x", TensorType((1, 3), CODES))
        y = layers.product(x, Linear(), "fc", (4, 3))
        y = layers.build.add(Reshape((1, 2, 1, 2)), (y,), "map")
        graph = layers.build.graph((layers.conv(y, "conv", 1),))
        weight = graph.const["fc.weight"].data.numpy()
        assert np.array_equal(product(schedule(graph, PlanOptions()), "fc").weights, weight[[0, 2, 1, 3]])

    def test_one_channel_image_flattens_in_its_own_order(self) -> None:
        layers = Layers(Builder("digits"))
        x = layers.build.input("x", TensorType((1, 1, 4, 4), CODES))
        flat = layers.build.add(Reshape((1, 16)), (x,), "flat")
        plan = schedule(layers.build.graph((layers.product(flat, Linear(), "fc", (2, 16)),)), PlanOptions())
        assert plan.input_order.tolist() == list(range(16))


class TestFolding:
    def test_more_multipliers_shorten_the_slowest_layer_first(self) -> None:
        graph = mlp((16, 16, 4))
        found = {budget: steps(schedule(graph, PlanOptions(max_multipliers=budget))) for budget in (2, 3, 5, 10)}
        assert {budget: {name: found[budget][name] for name in ("fc1", "fc2")} for budget in found} == {
            2: {"fc1": 256, "fc2": 64},
            3: {"fc1": 128, "fc2": 64},
            5: {"fc1": 64, "fc2": 64},
            10: {"fc1": 32, "fc2": 32},
        }

    def test_default_is_small(self) -> None:
        assert schedule(mlp((16, 16, 4)), PlanOptions()).multipliers <= 16

    def test_target_interval_takes_the_fewest_multipliers(self) -> None:
        plan = schedule(mlp((16, 16, 4)), PlanOptions(target_interval=100))
        assert (max(steps(plan).values()), plan.multipliers) == (64, 5)

    def test_by_hand(self) -> None:
        wishes = (
            LayerFolding("*", simd=2),
            LayerFolding("fc2", pe=4, storage=Storage.BLOCK, multiplier=Multiplier.LUT),
        )
        plan = schedule(mlp((16, 16, 4)), PlanOptions(layers=wishes))
        fc1, fc2 = product(plan, "fc1"), product(plan, "fc2")
        assert (fc1.simd, fc2.simd, fc2.pe) == (2, 2, 4)
        assert (fc2.storage, fc1.multiplier, fc2.multiplier) == (Storage.BLOCK, Multiplier.DSP, Multiplier.LUT)

    def test_wide_products_get_the_dsp_blocks(self) -> None:
        layers = Layers(Builder("mixed"))
        x = layers.build.input("x", TensorType((1, 4), Int(4, True, 4)))
        x = layers.product(x, Linear(), "narrow", (4, 4))
        graph = layers.build.graph((layers.product(x, Linear(), "wide", (4, 4)),))
        wishes = (LayerFolding("*", pe=2, simd=2),)

        def kinds(dsp: int | None) -> list[str]:
            plan = schedule(graph, PlanOptions(dsp=dsp, layers=wishes))
            return [product(plan, name).multiplier.value for name in ("narrow", "wide")]

        assert kinds(None) == ["dsp", "dsp"]
        assert kinds(7) == ["lut", "dsp"]
        assert kinds(3) == ["lut", "lut"]

    def test_few_or_short_weights_live_in_luts(self) -> None:
        def storage(sizes: tuple[int, int], pe: int) -> Storage:
            plan = schedule(mlp(sizes), PlanOptions(layers=(LayerFolding("fc1", pe=pe, simd=1),)))
            return product(plan, "fc1").storage

        assert storage((16, 16), 1) is Storage.BLOCK  # 256 words of 4 bits
        assert storage((16, 15), 1) is Storage.LUT  # 960 bits
        assert storage((16, 16), 8) is Storage.BLOCK  # 32 words
        assert storage((16, 16), 16) is Storage.LUT  # 16 words

    @settings(max_examples=40)
    @given(networks(blocks=2), st.integers(0, 20))
    def test_interval_is_the_least_that_the_budget_allows(self, graph: Graph, spare: int) -> None:
        lowered = lower(graph)
        layers = lowered.layers
        if np.prod([len(layer.foldings()) for layer in layers]) > 2000:
            return
        least = sum(min(layer.multipliers(folding) for folding in layer.foldings()) for layer in layers)
        budget = max(1, least + spare)
        interval = min(
            slowest(lowered, foldings)
            for foldings in itertools.product(*(layer.foldings() for layer in layers))
            if sum(layer.multipliers(folding) for layer, folding in zip(layers, foldings, strict=True)) <= budget
        )
        folded = fold(lowered, PlanOptions(max_multipliers=budget))
        assert sum(layer.multipliers(folding) for layer, folding in folded) <= budget
        assert slowest(lowered, [folding for _, folding in folded]) == interval

    def test_options_from_toml(self) -> None:
        table = {"max_multipliers": 28, "layers": [{"layer": "conv*", "pe": 4, "storage": "lut"}]}
        assert from_plain(PlanOptions, table, "project.toml [plan]") == PlanOptions(
            max_multipliers=28, layers=(LayerFolding("conv*", pe=4, storage=Storage.LUT),)
        )


class TestDefaultDepths:
    def test_queue_lets_its_producer_run_at_full_rate(self) -> None:
        plan = schedule(mlp((16, 16)), PlanOptions(layers=(LayerFolding("fc1", pe=1, simd=16),)))
        # A push a cycle, 10 cycles to the queue (tree of 4 stages), 2 through the memory, 1 until the place is free.
        assert (product(plan, "fc1").latency, plan.stream["output"].depth) == (10, 13)
        assert plan.stream["input"].depth == 2
        plan = schedule(mlp((16, 16)), PlanOptions(layers=(LayerFolding("fc1", pe=1, simd=1),)))
        assert plan.stream["output"].depth == 2


def test_layers_named_like_the_streams_of_the_border() -> None:
    layers = Layers(Builder("net"))
    x = layers.build.input("x", TensorType((1, 8), CODES))
    for name in ("input", "output", "input2", "last"):
        x = layers.product(x, Linear(), name, (8, 8))
    plan = schedule(layers.build.graph((x,)), PlanOptions(max_multipliers=8))
    assert [stage.name for stage in plan.stages] == ["input", "output", "input2", "last"]
    assert [stage.outputs for stage in plan.stages] == [("input2",), ("output2",), ("input22",), ("output",)]
