"""The Plan of a random network: folded by the schedule or by hand, its queues as sized or of random depths."""

from __future__ import annotations

import random
from dataclasses import replace

from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.ir.units import MatrixVector, Multiplier, SparseMatrixVector, Storage, Unit, Window
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import size_queues

from .random_network import RandomNetwork

_REFUSALS = frozenset({"bad-folding", "bad-value"})
_DEPTHS = (2, 3, 4, 5, 6, 9, 17)


def random_plan(network: RandomNetwork) -> Plan:
    """Return the plan of this network, always the same."""
    graph = network.graph()
    options = network.plan_options(graph)
    plan = schedule(graph, options)
    if network.folding:
        plan = _by_hand(graph, options, plan, random.Random(network.folding))
    plan = size_queues(plan)
    return _other_depths(plan, random.Random(network.queues)) if network.queues else plan


def _by_hand(graph: Graph, options: PlanOptions, plan: Plan, rng: random.Random) -> Plan:
    """Ask for something of about half of the layers, one after the other; what cannot be had is left out."""
    names = {stage.name for stage in plan.stages if not isinstance(stage.unit, Window)}
    wishes = options.layers
    for stage in plan.stages:
        if stage.name not in names or rng.random() < 0.5:
            continue
        try:
            asked = (*wishes, _wish(stage.name, stage.unit, rng))
            plan = schedule(graph, replace(options, max_multipliers=None, layers=asked))
        except ToolError as error:
            if not _REFUSALS.issuperset(item.slug for item in error.diagnostics):
                raise
            continue
        wishes = asked
    return plan


def _wish(name: str, unit: Unit, rng: random.Random) -> LayerFolding:
    if not isinstance(unit, MatrixVector | SparseMatrixVector):
        lanes = rng.choice([1, 2, 3, 4])
        return LayerFolding(name, pe=lanes, simd=lanes)
    dense = unit.dense if isinstance(unit, SparseMatrixVector) else unit
    is_sparse = rng.random() < 0.5
    return LayerFolding(
        name,
        pe=rng.choice([n for n in range(1, dense.rows + 1) if dense.rows % n == 0]),
        simd=rng.choice([None, 2, 3]),
        storage=rng.choice([None, *Storage]),
        multiplier=rng.choice([None, *Multiplier]),
        sparse=True if is_sparse else None,
        skip_zeros=True if is_sparse and rng.random() < 0.7 else None,
    )


def _other_depths(plan: Plan, rng: random.Random) -> Plan:
    """Give about half of the queues another depth; those that would stop the plan for ever stay as they are."""
    for i, stream in enumerate(plan.streams):
        if rng.random() < 0.5:
            continue
        depth = rng.choice(_DEPTHS)
        streams = (*plan.streams[:i], replace(stream, depth=depth), *plan.streams[i + 1 :])
        changed = replace(plan, streams=streams)
        try:
            dataflow_cycles(changed)
        except ToolError as error:
            if {item.slug for item in error.diagnostics} != {"deadlock"}:
                raise
            continue
        plan = changed
    return plan
