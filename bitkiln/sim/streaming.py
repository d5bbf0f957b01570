"""The generated dataflow hardware as an accelerator among others: its exact cycles, its activity, its energy.

All stages work at the same time on different images, so the total is not the sum of the layers. A stage without
products (window, pool, add ...) belongs to the layer whose products come before it, or to the first one.
"""

from __future__ import annotations

from dataclasses import replace

from bitkiln.ir import Graph, Plan
from bitkiln.passes.schedule import PlanOptions, schedule

from ._tiles import Residence
from .accelerator import Accelerator
from .activity import HOST_LINK, plan_activity
from .counts import Counts
from .dataflow import DataflowCycles, dataflow_cycles
from .energy import counts_energy
from .engine import LayerRun
from .graph_workload import workload_of
from .queues import size_queues
from .residence import Weights
from .simulate import Overlap, Simulation, simulate, with_dram
from .technology import Technology
from .tiling import Objective
from .workload import Layer, Workload


def simulate_graph(
    graph: Graph,
    accelerator: Accelerator,
    technology: Technology,
    batch: int = 1,
    objective: Objective = Objective.TRAFFIC,
    can_stay: bool = True,
) -> Simulation:
    """Run the layers of `graph`, on the generated hardware too. Raises what `simulate` and `schedule` raise."""
    if accelerator.streaming is None:
        return simulate(workload_of(graph, batch), accelerator, technology, objective, can_stay)
    options = PlanOptions(clock_mhz=accelerator.clock_hz / 1e6, max_multipliers=accelerator.streaming.max_multipliers)
    return simulate_plan(size_queues(schedule(graph, options)), accelerator, technology, batch)


def simulate_plan(plan: Plan, accelerator: Accelerator, technology: Technology, batch: int = 1) -> Simulation:
    """Return what `batch` images through `plan` cost, one after the other without a pause."""
    workload = workload_of(plan.graph, batch)
    cycles = dataflow_cycles(plan)
    priced = with_dram(technology, accelerator.dram.kind)
    owners = _owners(plan, workload)
    counts: dict[str, Counts] = {layer.name: Counts() for layer in workload.layers}
    for stage in plan_activity(plan).stages:
        owner = workload.layers[0].name if stage.name == HOST_LINK else owners[stage.name]
        counts[owner] = counts[owner] + _times(stage.counts, batch)
    runs = tuple(_run(plan, layer, owners, cycles, counts[layer.name]) for layer in workload.layers)
    busiest = max(cycles.busy.values()) * batch
    bits = sum(layer.weight_count * (layer.weight_bits or 0) for layer in workload.layers)
    return Simulation(
        workload,
        accelerator,
        priced,
        runs,
        tuple(counts_energy(run.counts, priced) for run in runs),
        Weights(bits, bits),
        (Residence(has_weights=True),) * len(runs),
        Overlap(busiest, cycles.latency + (batch - 1) * cycles.interval, plan.multipliers),
    )


def _owners(plan: Plan, workload: Workload) -> dict[str, str]:
    """The layer that each stage belongs to."""
    layers = {layer.name for layer in workload.layers}
    latest = workload.layers[0].name
    owners = {}
    for stage in plan.stages:
        latest = _product(plan, stage.node, layers) or latest
        owners[stage.name] = latest
    return owners


def _product(plan: Plan, node: str, layers: set[str]) -> str | None:
    """The nearest layer on the way to a value, itself included."""
    found = plan.graph.node.get(node)
    while found is not None and found.name not in layers:
        found = plan.graph.node.get(found.args[0])
    return found.name if found else None


def _times(counts: Counts, batch: int) -> Counts:
    arithmetic = tuple(replace(item, count=item.count * batch) for item in counts.arithmetic)
    accesses = tuple(replace(a, reads=a.reads * batch, writes=a.writes * batch) for a in counts.accesses)
    return Counts(arithmetic, accesses)


def _run(plan: Plan, layer: Layer, owners: dict[str, str], cycles: DataflowCycles, counts: Counts) -> LayerRun:
    stages = [stage for stage in plan.stages if owners[stage.name] == layer.name]
    busy = max(cycles.busy[stage.name] for stage in stages) * layer.batch
    return LayerRun(
        layer,
        busy,
        (),
        counts.merged(),
        max(1, sum(stage.unit.multipliers for stage in stages)),
        mapping=", ".join(f"{stage.name} x{stage.unit.multipliers}" for stage in stages if stage.unit.multipliers),
    )
