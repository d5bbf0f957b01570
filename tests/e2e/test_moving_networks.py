"""Networks that move, join, multiply and look up elements, in RTL: queues of the right depths never deadlock."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.hdl.verify import golden_codes
from bitkiln.ir import Graph
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import best_interval, size_queues
from tests.hdl.units.rtl_bench import check
from tests.passes.move_graphs import GRAPHS, codes
from tests.passes.networks import context, gated, samples


@pytest.mark.slow
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_rtl_equals_the_golden_model(graph: Graph) -> None:
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=24)))
    given, golden = golden_codes(plan, codes(graph, 3))
    check(plan, given[:, plan.input_order], golden[:, plan.output_order])


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_nothing_but_the_slowest_unit_counts(graph: Graph) -> None:
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=24)))
    assert dataflow_cycles(plan).interval == best_interval(plan)


@pytest.mark.slow
def test_a_float_network_with_a_gate_and_functions() -> None:
    """From floats: SiLU and sigmoid become tables, the gate a product of streams, the softmax stays with the host."""
    floats = gated()
    plan = size_queues(schedule(Quantise().run(floats, context(floats)), PlanOptions(max_multipliers=24)))
    given, golden = golden_codes(plan, samples(floats, 3))
    check(plan, given[:, plan.input_order], golden[:, plan.output_order])
