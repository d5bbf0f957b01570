"""The Plan computes what the graph computes: lowering, permuted weights and windows, without any RTL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitkiln.ir import Graph, Int, Plan, evaluate, ops
from bitkiln.ir.ops import Add, AvgPool2d, Conv2d, Dequantise, MaxPool2d, Relu, Reshape, TopK
from bitkiln.ir.units import MatrixVector
from bitkiln.passes.quantise import Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.functional import run_plan
from tests.passes.networks import Network, context
from tests.passes.random_graphs import networks
from tests.passes.small_graphs import mlp

IMAGES = 3


def input_number(graph: Graph) -> Int:
    """Format of the codes that go into the Plan."""
    number = graph.inputs[0].type.number
    if isinstance(number, Int):
        return number
    return next(node.op.number for node in graph.nodes if isinstance(node.op, ops.Quantise))


def through_plan(plan: Plan, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[images, elements] in the graph's layout to the same of the result."""
    streamed = run_plan(plan, codes[:, plan.input_order])
    result = np.empty_like(streamed)
    result[:, plan.output_order] = streamed
    return result


def assert_computes_graph(graph: Graph, options: PlanOptions, seed: int = 0) -> None:
    number = input_number(graph)
    shape = graph.inputs[0].type.shape
    generator = np.random.default_rng(seed)
    codes = generator.integers(number.lo, number.hi + 1, (IMAGES, graph.inputs[0].type.elements))
    values = torch.from_numpy(codes).to(torch.float64).reshape(IMAGES, *shape[1:])
    if graph.inputs[0].type.is_float:
        values = values * 2.0 ** -number.fracs[0]
    expected = evaluate(graph, values)[0]
    actual = torch.from_numpy(through_plan(schedule(graph, options), codes)).reshape(expected.shape).to(torch.float64)
    last = graph.node.get(graph.outputs[0])
    if last is not None and isinstance(last.op, Dequantise):
        actual = last.op.evaluate(actual)
    assert torch.equal(expected, actual)


@pytest.mark.parametrize("argmax", [False, True])
def test_quantised_network(argmax: bool) -> None:
    """What the quantise pass makes of a float network: points a channel, average pooling, a residual sum."""
    network = Network((2, 9, 8))
    x = network.op(Relu(), network.conv(network.x, 6, "conv1", Conv2d((2, 1), ((1, 0), (1, 1)))), name="relu1")
    y = network.conv(x, 6, "conv2", Conv2d(padding=((1, 1), (1, 1)), groups=3))
    x = network.op(Relu(), network.op(Add(), x, y, name="sum"), name="relu2")
    x = network.op(MaxPool2d((2, 2), (2, 2)), x, name="pool1")
    x = network.op(AvgPool2d((2, 2), (2, 2), ceil_mode=True), x, name="pool2")
    x = network.op(Reshape((1, network.build.types[x].elements)), x, name="flatten")
    x = network.linear(x, 5, "fc")
    graph = network.graph(network.op(TopK(), x, name="class") if argmax else x)
    codes = Quantise().run(graph, context(graph, y=torch.zeros(64)))
    assert_computes_graph(codes, PlanOptions(max_multipliers=40))


def test_wrong_lowering_is_noticed() -> None:
    """The comparison is no tautology: swapped weight columns, and it fails."""
    graph = mlp((4, 3))
    plan = schedule(graph, PlanOptions())
    stage = plan.stages[0]
    assert isinstance(stage.unit, MatrixVector)
    turned = replace(stage, unit=replace(stage.unit, weights=stage.unit.weights[:, ::-1]))
    codes = np.arange(8, dtype=np.int64).reshape(2, 4)
    assert not np.array_equal(run_plan(replace(plan, stages=(turned,)), codes), run_plan(plan, codes))


def test_accumulator_that_is_too_narrow_is_noticed() -> None:
    plan = schedule(mlp((4, 3)), PlanOptions())
    stage = plan.stages[0]
    assert isinstance(stage.unit, MatrixVector)
    narrow = replace(stage, unit=replace(stage.unit, accumulator_bits=4))
    with pytest.raises(AssertionError, match=r"accumulator: codes outside -8 \.\.\. 7"):
        run_plan(replace(plan, stages=(narrow,)), np.full((1, 4), 127))


@settings(max_examples=120)
@given(networks(), st.integers(1, 60))
def test_plan_computes_what_the_graph_computes(graph: Graph, multipliers: int) -> None:
    assert_computes_graph(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
