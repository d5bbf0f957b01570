"""Pruned networks in RTL, convolutions too: equal bits, equal cycles."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.hdl.verify import golden_codes
from bitkiln.ir import Graph
from bitkiln.ir.units import SparseMatrixVector
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.queues import size_queues
from tests.hdl.units.rtl_bench import check
from tests.passes.sparse_graphs import pruned_cnn, pruned_mlp


@pytest.mark.slow
@pytest.mark.parametrize("skip_zeros", [False, True])
@pytest.mark.parametrize("graph", [pruned_cnn(), pruned_mlp((60, 24, 8), (0.1, 0.2))], ids=lambda graph: graph.name)
def test_rtl_equals_the_golden_model(graph: Graph, skip_zeros: bool) -> None:
    wish = LayerFolding("fc*", skip_zeros=skip_zeros)
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=12, layers=(wish,))))
    assert sum(isinstance(stage.unit, SparseMatrixVector) for stage in plan.stages) == 2
    shape, generator = (3, *graph.inputs[0].type.shape[1:]), torch.Generator().manual_seed(0)
    samples = torch.randint(0, 256, shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.4)
    codes, golden = golden_codes(plan, samples)
    check(plan, codes[:, plan.input_order], golden[:, plan.output_order])
