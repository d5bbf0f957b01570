"""What moves elements computes what the graph computes, in blocks as small as they can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.ir import Graph, Plan, evaluate
from bitkiln.ir.units import ConcatStreams, Gather, LookupStream, MultiplyStreams
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.functional import run_plan
from tests.passes.move_graphs import GRAPHS, codes, gated


@pytest.mark.parametrize("multipliers", [4, 40])
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_plan_computes_what_the_graph_computes(graph: Graph, multipliers: int) -> None:
    plan, x = schedule(graph, PlanOptions(max_multipliers=multipliers)), codes(graph, 3)
    expected = evaluate(graph, x)[0].reshape(3, -1).to(torch.int64).numpy()
    found = run_plan(plan, x.reshape(3, -1).numpy()[:, plan.input_order])
    assert np.array_equal(found, expected[:, plan.output_order])


def plan_of(name: str) -> Plan:
    return schedule(next(graph for graph in GRAPHS if graph.name == name), PlanOptions())


@pytest.mark.parametrize(
    ("name", "blocks", "elements"),
    [
        ("shuffle", 24, 4),  # within a pixel
        ("up", 4, 24),  # a row becomes two
        ("mirrored", 4, 24),
        ("turned", 1, 96),  # the last row comes first
        ("densest3", 1, 96),
    ],
)
def test_blocks(name: str, blocks: int, elements: int) -> None:
    (unit,) = (stage.unit for stage in plan_of(name).stages if isinstance(stage.unit, Gather))
    assert (unit.blocks, unit.block_beats * unit.beat.lanes) == (blocks, elements)


def test_squeeze_and_excite_has_a_table_a_product_and_two_copies() -> None:
    units = [stage.unit for stage in schedule(gated(), PlanOptions()).stages]
    assert sum(isinstance(unit, Gather) for unit in units) == 2
    assert [type(unit) for unit in units if isinstance(unit, LookupStream | MultiplyStreams)] == [
        LookupStream,
        MultiplyStreams,
    ]


def test_join_along_rows_takes_one_map_after_the_other() -> None:
    rounds = {}
    for name in ("axis2", "axis3"):
        (unit,) = (stage.unit for stage in plan_of(name).stages if isinstance(stage.unit, ConcatStreams))
        rounds[name] = unit.rounds
    assert rounds == {"axis2": 1, "axis3": 4}
