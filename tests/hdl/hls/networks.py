"""A small network with awkward names, for tests of the generated project."""

from __future__ import annotations

import torch

from bitkiln.ir import Builder, Int, Location, Plan, TensorType
from bitkiln.ir.ops import Linear, Relu, Requantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.queues import size_queues

CODES = Int(6, True, 4)


def two_layers(first: str = "fc1", second: str = "fc2") -> Plan:
    """[12] through a matrix to [6] and another to [4]."""
    generator, build = torch.Generator().manual_seed(0), Builder("two layers")
    x = build.input("x", TensorType((1, 12), CODES))
    for name, (outputs, inputs) in ((first, (6, 12)), (second, (4, 6))):
        codes = torch.randint(-8, 8, (outputs, inputs), generator=generator).to(torch.int8)
        weight = build.constant(f"{name}.weight", TensorType((outputs, inputs), Int(4, True, 3)), codes)
        x = build.add(Linear(), (x, weight), name, Location("model.py", 7, name))
        x = build.add(Requantise(CODES, (3,)), (x,), f"{name}.codes", Location("model.py", 8, name))
        x = build.add(Relu(), (x,), f"{name}.relu")
    return size_queues(schedule(build.graph((x,)), PlanOptions(max_multipliers=24)))
