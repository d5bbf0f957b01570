"""The Plan computes what the graph computes: lowering, permuted weights and windows, without any RTL."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitkiln.ir import Graph, Int, Plan, evaluate
from bitkiln.ir.ops import Dequantise, Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.functional import run_plan
from tests.passes.random_graphs import networks

IMAGES = 3


def input_number(graph: Graph) -> Int:
    """Format of the codes that go into the Plan."""
    number = graph.inputs[0].type.number
    if isinstance(number, Int):
        return number
    return next(node.op.number for node in graph.nodes if isinstance(node.op, Quantise))


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


@settings(max_examples=120)
@given(networks(), st.integers(1, 60))
def test_plan_computes_what_the_graph_computes(graph: Graph, multipliers: int) -> None:
    assert_computes_graph(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
