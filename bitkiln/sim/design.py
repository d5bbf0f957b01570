"""What a Plan costs by the models, stage by stage: cycles, energy and memory. Nothing here is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bitkiln.ir import Plan, Stage
from bitkiln.ir.ops import Reshape
from bitkiln.ir.units import Fork, MatrixVector, Resize, SparseMatrixVector, Window

from .activity import Activity, plan_activity
from .counts import Access, Level, Role
from .dataflow import DataflowCycles
from .energy import Energy, KindEnergy, energy
from .technology import Technology


@dataclass(frozen=True)
class Layer:
    """One stage of the Plan. What a unit does not have is None: processing elements, weights, an operation.

    `busy_cycles` are its steps in one image, `weight_bits` is the width of a weight, `weight_memory_bits` all of them.
    `shape` and `number` are those of the graph's value that the stage gives.
    """

    name: str
    op: str | None
    unit: str
    shape: tuple[int, ...]
    number: str
    params: int
    macs: int
    pe: int | None
    simd: int | None
    multipliers: int
    storage: str | None
    busy_cycles: int
    utilisation: float
    energy: KindEnergy
    weight_bits: int | None
    weight_memory_bits: int
    queue_depths: tuple[int, ...]
    place: str


@dataclass(frozen=True)
class Link:
    """One stream: `source` and `target` are stages, None at the border; `peak` is the most places ever taken."""

    name: str
    source: str | None
    target: str | None
    beat: str
    beat_bits: int
    beats: int
    depth: int
    peak: int


@dataclass(frozen=True)
class MemoryUse:
    """All memories of one role and level together: capacity, and what one image moves. Off the chip, capacity is 0."""

    role: Role
    level: Level
    capacity_bits: int
    read_bits: int
    written_bits: int

    @property
    def moved_bits(self) -> int:
        return self.read_bits + self.written_bits


@dataclass(frozen=True, eq=False)
class Design:
    """A Plan with its predicted cycles and energy. `weights_from_dram` is the energy without room for the weights.

    >>> Design.of(plan, dataflow_cycles(plan), find_technology("45nm")).energy.total_pj
    """

    clock_hz: float
    latency_cycles: int
    interval_cycles: int
    layers: tuple[Layer, ...]
    links: tuple[Link, ...]
    activity: Activity
    technology: Technology
    energy: Energy
    weights_from_dram: Energy

    @classmethod
    def of(cls, plan: Plan, cycles: DataflowCycles, technology: Technology) -> Design:
        """Return the numbers of `plan`; `cycles` are those of the same plan."""
        activity = plan_activity(plan)
        spent = energy(activity, technology)
        return cls(
            clock_hz=plan.clock_hz,
            latency_cycles=cycles.latency,
            interval_cycles=cycles.interval,
            layers=tuple(_layer(plan, stage, cycles, spent) for stage in plan.stages),
            links=tuple(_link(plan, name, cycles) for name in plan.stream),
            activity=activity,
            technology=technology,
            energy=spent,
            weights_from_dram=energy(activity.with_weights_from_dram(), technology),
        )

    @property
    def images_per_second(self) -> float:
        """At the plan's clock, if the input never runs dry."""
        return self.clock_hz / self.interval_cycles

    @property
    def border(self) -> tuple[Link, ...]:
        """The streams from and to the host."""
        return tuple(link for link in self.links if link.source is None or link.target is None)

    @property
    def memories(self) -> tuple[MemoryUse, ...]:
        """What is kept and moved, by role and level, the largest first."""
        return memory_uses(access for stage in self.activity.stages for access in stage.counts.accesses)


def memory_uses(accesses: Iterable[Access]) -> tuple[MemoryUse, ...]:
    """Sum `accesses` by role and level, the largest capacity first, then the most moved."""
    groups: dict[tuple[Role, Level], list[Access]] = {}
    for access in accesses:
        groups.setdefault((access.memory.role, access.memory.level), []).append(access)
    uses = [
        MemoryUse(
            role,
            level,
            sum(access.memory.capacity_bits for access in group),
            sum(access.read_bits for access in group),
            sum(access.written_bits for access in group),
        )
        for (role, level), group in groups.items()
    ]
    return tuple(sorted(uses, key=lambda use: (-use.capacity_bits, -use.moved_bits, use.role.value, use.level.value)))


def _layer(plan: Plan, stage: Stage, cycles: DataflowCycles, spent: Energy) -> Layer:
    unit = stage.unit
    dense = unit.dense if isinstance(unit, SparseMatrixVector) else unit
    product = dense if isinstance(dense, MatrixVector) else None
    type_ = plan.graph.types[stage.node]
    busy = cycles.busy[stage.name]
    return Layer(
        name=stage.name,
        op=_op(plan, stage),
        unit=unit.kind,
        shape=type_.shape[1:],
        number=str(type_.number),
        params=product.weights.size + product.bias.size if product else 0,
        macs=product.steps * product.pe * product.simd if product else 0,
        pe=product.pe if product else None,
        simd=product.simd if product else None,
        multipliers=unit.multipliers,
        storage=product.storage.value if product else None,
        busy_cycles=busy,
        utilisation=busy / cycles.interval,
        energy=next(entry.by_kind for entry in spent.by_stage if entry.name == stage.name),
        weight_bits=product.weight_bits if product else None,
        weight_memory_bits=unit.weight_memory_bits if isinstance(unit, MatrixVector | SparseMatrixVector) else 0,
        queue_depths=tuple(plan.stream[name].depth for name in stage.outputs),
        place=str(stage.loc),
    )


def _op(plan: Plan, stage: Stage) -> str | None:
    """The first operation that the stage computes, reshapes apart; None for units that only move beats."""
    if isinstance(stage.unit, Window | Resize | Fork):
        return None
    taken = {_value(plan, name) for name in stage.inputs}
    found, node = None, plan.graph.node.get(stage.node)
    while node is not None:
        found = found if isinstance(node.op, Reshape) else node.op.name
        node = None if taken.intersection(node.args) else plan.graph.node.get(node.args[0])
    return found


def _value(plan: Plan, stream: str) -> str:
    """The value of the graph that a stream carries."""
    producer = plan.producer.get(stream)
    return plan.stages[producer[0]].node if producer else plan.input_value


def _link(plan: Plan, name: str, cycles: DataflowCycles) -> Link:
    stream = plan.stream[name]
    source, target = plan.producer.get(name), plan.consumer.get(name)
    return Link(
        name=name,
        source=plan.stages[source[0]].name if source else None,
        target=plan.stages[target[0]].name if target else None,
        beat=str(stream.beat),
        beat_bits=stream.beat.width,
        beats=stream.beats,
        depth=stream.depth,
        peak=cycles.queue_peaks[name],
    )
