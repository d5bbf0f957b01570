"""Networks of few bits, as the compression passes leave them, have plans that compute the same codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bitkiln.ir import evaluate, prune_dead
from bitkiln.ir.units import MatrixVector, Products
from bitkiln.passes import harden
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.functional import run_plan
from tests.passes.digits import digits, digits_cnn, digits_context
from tests.passes.test_harden import METHODS

EXPECTED = {
    "binarise xnor": {Products.SIGN, Products.COUNT},
    "bi-real": {Products.SIGN, Products.COUNT},
    "weights twn": {Products.SIGN},
    "inq": {Products.SHIFT},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_plan_computes_the_hardened_network(name: str) -> None:
    graph = digits_cnn()
    for step in METHODS[name]:
        graph = step.run(graph, digits_context(graph))
    plan = schedule(harden(graph), PlanOptions())
    border = prune_dead(replace(plan.graph, outputs=(plan.input_value, plan.output_value)))
    given, expected = (
        value.reshape(len(value), -1).to(torch.int64).numpy() for value in evaluate(border, digits()[0][:20])
    )
    assert np.array_equal(run_plan(plan, given[:, plan.input_order]), expected[:, plan.output_order])
    assert {s.unit.products for s in plan.stages if isinstance(s.unit, MatrixVector)} >= EXPECTED[name]
    assert plan.multipliers == 0
