"""How a layer's weights are stored and multiplied, by what values they have."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.ir import Builder, Graph, Int, TensorType, evaluate
from bitkiln.ir.ops import Linear
from bitkiln.ir.units import MatrixVector, Products, WeightCode
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.functional import run_plan


def layer(values: tuple[int, ...], rows: int = 16, columns: int = 32) -> Graph:
    """A linear layer whose weights are drawn from `values`."""
    build = Builder("layer")
    x = build.input("x", TensorType((1, columns), Int(8)))
    choice = torch.randint(0, len(values), (rows, columns), generator=torch.Generator().manual_seed(0))
    weight = build.constant("w", TensorType((rows, columns), Int(8)), torch.tensor(values)[choice].to(torch.int8))
    return build.graph((build.add(Linear(), (x, weight), "fc"),))


@pytest.mark.parametrize(
    ("values", "code", "products", "stored_bits"),
    [
        ((-1, 1), WeightCode.BIPOLAR, Products.SIGN, 1),
        ((-1, 0, 1), WeightCode.TERNARY, Products.SIGN, 2),
        ((-64, -2, 0, 1, 8), WeightCode.POWER, Products.SHIFT, 4),
        ((-100, -7, 3, 50), WeightCode.CODEBOOK, Products.MULTIPLY, 2),
        (tuple(range(-60, 60)), WeightCode.INTEGER, Products.MULTIPLY, 8),
    ],
)
def test_weights(values: tuple[int, ...], code: WeightCode, products: Products, stored_bits: int) -> None:
    graph = layer(values)
    plan = schedule(graph, PlanOptions(max_multipliers=2))
    (unit,) = (stage.unit for stage in plan.stages if isinstance(stage.unit, MatrixVector))
    assert (unit.weight_code, unit.products, unit.stored_bits) == (code, products, stored_bits)
    assert unit.weight_memory_bits == 512 * stored_bits
    assert (unit.multipliers > 0) == (products is Products.MULTIPLY)
    x = torch.randint(-128, 128, (4, 32), generator=torch.Generator().manual_seed(1))
    assert np.array_equal(run_plan(plan, x.numpy()), evaluate(graph, x)[0].to(torch.int64).numpy())


def test_few_weights_are_not_worth_a_table() -> None:
    (stage,) = schedule(layer((-100, -7, 3, 50), 2, 4), PlanOptions()).stages
    assert isinstance(stage.unit, MatrixVector)
    assert stage.unit.weight_code is WeightCode.INTEGER
