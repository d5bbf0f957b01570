"""Networks of signs: what is one bit wide, what takes no multiplier, and that the plan computes the graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bitkiln.ir import Builder, Graph, Int, Plan, TensorType, ToolError, evaluate, prune_dead, storage_dtype
from bitkiln.ir.ops import Add, Linear, MultiThreshold
from bitkiln.ir.units import LookupStream, MatrixVector, Products, ThresholdStream
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.functional import run_plan
from tests.passes.binary_graphs import binary_graph

Codes = NDArray[np.int64]


def samples(graph: Graph, count: int) -> torch.Tensor:
    shape, generator = graph.inputs[0].type.shape[1:], torch.Generator().manual_seed(0)
    return torch.randint(-8, 8, (count, *shape), generator=generator).to(torch.float32)


def border_codes(plan: Plan, x: torch.Tensor) -> tuple[Codes, Codes]:
    """Codes in and codes out, both in the order of the streams."""
    graph = prune_dead(replace(plan.graph, outputs=(plan.input_value, plan.output_value)))
    given, result = (value.reshape(len(x), -1).to(torch.int64).numpy() for value in evaluate(graph, x))
    return given[:, plan.input_order], result[:, plan.output_order]


@pytest.mark.parametrize("seed", range(60))
def test_plan_computes_what_the_graph_computes(seed: int) -> None:
    graph = binary_graph(seed)
    plan = schedule(graph, PlanOptions(max_multipliers=10 + seed))
    codes, expected = border_codes(plan, samples(graph, 3))
    assert np.array_equal(run_plan(plan, codes), expected)


def test_random_networks_meet_every_kind_of_product() -> None:
    plans = [schedule(binary_graph(seed), PlanOptions()) for seed in range(60)]
    units = [stage.unit for plan in plans for stage in plan.stages]
    assert {unit.products for unit in units if isinstance(unit, MatrixVector)} == set(Products) - {Products.SHIFT}
    assert any(isinstance(unit, ThresholdStream) for unit in units)
    assert any(beat.bipolar for unit in units for beat in unit.outputs)


def signs(levels: int) -> Graph:
    """A linear layer with weights of -1 and 1 behind thresholds on codes."""
    build = Builder("signs")
    x = build.input("x", TensorType((1, 4), Int(8)))
    table = torch.arange(4 * levels).reshape(4, levels).to(storage_dtype(Int(12)))
    x = build.add(
        MultiThreshold(Int(10), (-1,), (2,)), (x, build.constant("t", TensorType((4, levels), Int(12)), table)), "s"
    )
    weight = build.constant("w", TensorType((2, 4), Int(2)), torch.ones(2, 4, dtype=torch.int8))
    return build.graph((build.add(Linear(), (x, weight), "fc"),))


def test_signs_travel_as_one_bit() -> None:
    plan = schedule(signs(1), PlanOptions(max_multipliers=2))
    assert [str(stage.unit.outputs[0]) for stage in plan.stages] == ["4 x bipolar", "2 x i4"]
    product = plan.stages[-1].unit
    assert isinstance(product, MatrixVector)
    assert (product.products, product.multipliers, product.weight_memory_bits) == (Products.COUNT, 0, 8)


def test_sum_of_signs_takes_two_bits() -> None:
    """An addition needs the codes themselves."""
    build = Builder("sum")
    x = build.input("x", TensorType((1, 4), Int(8)))
    table = build.constant("t", TensorType((1, 1), Int(8)), torch.zeros(1, 1, dtype=torch.int8))
    x = build.add(MultiThreshold(Int(2), (-1,), (2,)), (x, table), "s")
    plan = schedule(build.graph((build.add(Add(), (x, x), "twice"),)), PlanOptions())
    assert str(plan.stages[0].unit.outputs[0]) == "4 x i2"


def test_many_thresholds_alike_are_a_table() -> None:
    build = Builder("steps")
    x = build.input("x", TensorType((1, 4), Int(8)))
    levels = torch.arange(-127, 127).reshape(1, 254).to(storage_dtype(Int(8)))
    table = build.constant("t", TensorType((1, 254), Int(8)), levels)
    graph = build.graph((build.add(MultiThreshold(Int(9), (0,), (1,)), (x, table), "s"),))
    (stage,) = schedule(graph, PlanOptions()).stages
    assert isinstance(stage.unit, LookupStream)
    codes = np.arange(-128, 128).reshape(-1, 4)
    expected = evaluate(graph, torch.from_numpy(codes))[0].to(torch.int64).numpy()
    assert np.array_equal(run_plan(schedule(graph, PlanOptions()), codes), expected)


def test_too_many_thresholds() -> None:
    with pytest.raises(ToolError) as caught:
        schedule(signs(256), PlanOptions())
    assert str(caught.value) == (
        "error[no-unit]: no hardware unit takes %s (multi_threshold): it has 256 thresholds a channel\n"
        "  help: at most 255: use fewer bits for this activation"
    )
