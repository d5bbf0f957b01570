"""Eight random networks: imported, quantised, scheduled; their RTL equals the golden model in every bit and cycle."""

from __future__ import annotations

import random

import pytest
import torch

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.frontend.torch_import import import_module
from bitkiln.hdl.verify import golden_codes
from bitkiln.passes import Context, Quantise
from bitkiln.passes.canonicalise import canonicalise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues
from tests.hdl.units.rtl_bench import check

from .random_networks import random_network

IMAGES = 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_rtl_equals_the_golden_model(seed: int) -> None:
    module, shape = random_network(seed)
    rng = random.Random(seed)
    torch.manual_seed(seed)
    samples = torch.randn(16, *shape[1:])
    graph = canonicalise(import_module(module, shape, f"random{seed}"))
    quantise = Quantise(
        weight_bits=rng.randint(2, 8), activation_bits=rng.randint(2, 8), per_channel=rng.random() < 0.5
    )
    labels = torch.zeros(len(samples), dtype=torch.int64)
    context = Context(calibration=samples, train_x=samples, train_y=labels, seed=0, reference=graph)
    quantised = quantise.run(graph, context)
    plan = size_queues(schedule(quantised, PlanOptions(max_multipliers=rng.choice([16, 32, 64]))))
    codes, golden = golden_codes(plan, samples[:IMAGES])
    check(plan, codes[:, plan.input_order], golden[:, plan.output_order])
