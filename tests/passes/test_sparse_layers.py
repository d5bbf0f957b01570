"""Which layers skip weights of 0, and what that saves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.ir import Graph, Plan, ToolError, evaluate
from bitkiln.ir.units import SparseMatrixVector
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.functional import run_plan
from bitkiln.sim.image_cycles import image_output_cycles
from bitkiln.sim.queues import size_queues
from tests.passes.small_graphs import cnn, mlp
from tests.passes.sparse_graphs import pruned_cnn, pruned_mlp
from tests.passes.test_binary import signs

LENET = (784, 300, 100, 10)


def sparse_layers(plan: Plan) -> list[str]:
    return [stage.name for stage in plan.stages if isinstance(stage.unit, SparseMatrixVector)]


@pytest.mark.parametrize("graph", [pruned_cnn(), pruned_mlp((24, 12, 8), (0.2, 0.5))], ids=lambda graph: graph.name)
def test_plan_computes_what_the_graph_computes(graph: Graph) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=12, layers=(LayerFolding("fc*", sparse=True),)))
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (3, *graph.inputs[0].type.shape[1:]), generator=generator)
    expected = evaluate(replace_output(graph, plan.output_value), codes)[0].reshape(3, -1).to(torch.int64).numpy()
    found = run_plan(plan, codes.reshape(3, -1).numpy()[:, plan.input_order])
    assert np.array_equal(found, expected[:, plan.output_order])
    assert set(sparse_layers(plan)) >= {name for name in ("fc", "fc1") if name in {s.name for s in plan.stages}}


def replace_output(graph: Graph, name: str) -> Graph:
    return Graph(graph.name, graph.inputs, graph.consts, graph.nodes, (name,))


def test_only_layers_with_few_weights_left_are_sparse() -> None:
    assert sparse_layers(schedule(pruned_cnn(), PlanOptions())) == ["conv2", "fc"]
    assert sparse_layers(schedule(cnn(), PlanOptions())) == []
    unwanted = PlanOptions(layers=(LayerFolding("*", sparse=False),))
    assert sparse_layers(schedule(pruned_cnn(), unwanted)) == []


def test_deep_compressed_lenet_takes_a_quarter_of_the_cycles_and_less() -> None:
    """LeNet-300-100 at the densities of Deep Compression (Han et al. 2016), 16 multipliers, against all weights."""
    plan = size_queues(schedule(pruned_mlp(LENET, (0.08, 0.09, 0.26)), PlanOptions(max_multipliers=16)))
    full = size_queues(schedule(pruned_mlp(LENET, (1, 1, 1)), PlanOptions(max_multipliers=16)))
    assert sparse_layers(plan) == ["fc1", "fc2"]
    assert plan.multipliers <= full.multipliers
    assert dataflow_cycles(full).interval >= 4 * dataflow_cycles(plan).interval


def test_inputs_of_zero_are_skipped_where_asked() -> None:
    """Of 784 inputs 150 are not 0, as in a digit; without the first layer's zeros images come out a third sooner."""
    wish = LayerFolding("fc1", skip_zeros=True, simd=8)
    graph = pruned_mlp(LENET, (0.08, 0.09, 0.26))
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=16, layers=(wish,))))
    unit = plan.stages[[stage.name for stage in plan.stages].index("fc1")].unit
    assert isinstance(unit, SparseMatrixVector)
    assert unit.skip_zeros
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 256, (4, 784)) * (rng.random((4, 784)) < 150 / 784)
    cycles = image_output_cycles(plan, codes[:, plan.input_order])[:, -1]
    assert cycles[0] + 1 < dataflow_cycles(plan).latency * 2 / 3
    assert image_output_cycles(plan, np.zeros((1, 784), np.int64))[0, -1] < cycles[0]  # by the image


def test_shared_weights_are_kept_as_indices() -> None:
    plan = schedule(pruned_mlp((64, 32), (0.2,), levels=(-100, -7, 50)), PlanOptions())
    unit = plan.stages[-1].unit
    assert isinstance(unit, SparseMatrixVector)
    assert unit.codebook == (0, -100, -7, 50)
    assert (unit.index_bits, unit.dense.weight_bits) == (2, 8)


def test_what_needs_no_multiplier_is_not_sparse() -> None:
    with pytest.raises(ToolError, match=r"fc cannot skip zeros: it has groups, or products without multipliers"):
        schedule(signs(1), PlanOptions(layers=(LayerFolding("fc", sparse=True),)))


def test_dense_layer_can_be_asked_to_skip() -> None:
    assert sparse_layers(schedule(mlp((8, 6)), PlanOptions(layers=(LayerFolding("fc1", sparse=True),)))) == ["fc1"]
