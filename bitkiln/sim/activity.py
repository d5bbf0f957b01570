"""Exact counts of one image through a dataflow Plan: operations, and bits moved by memory. No prices here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from bitkiln.ir import Plan, Stage, Stream
from bitkiln.ir.units import MatrixVector, SparseMatrixVector

from ._unit_counts import unit_counts
from .counts import Access, Counts, Level, Memory, Role

HOST_LINK = "host link"
"""The entry of an Activity for what belongs to no stage: both ends of the link and the input queue."""


@dataclass(frozen=True)
class StageActivity:
    """The counts of one stage and of the queues at its outputs. `weight_bits` are all weights it keeps, packed."""

    name: str
    counts: Counts
    weight_bits: int = 0


@dataclass(frozen=True)
class Activity:
    """The counts of one image, by stage in the Plan's order, the host link first.

    Nothing here depends on how long anything takes: stalls repeat no operation.
    """

    stages: tuple[StageActivity, ...]

    @cached_property
    def total(self) -> Counts:
        """The counts of all stages, like ones merged."""
        return sum((stage.counts for stage in self.stages), Counts()).merged()

    @property
    def weight_bits(self) -> int:
        return sum(stage.weight_bits for stage in self.stages)

    def with_weights_from_dram(self) -> Activity:
        """Return the counts of a chip without room for weights: it fetches each stored bit from DRAM once an image.

        All else stays, also the reads of the on-chip memory that the weights pass through.
        """
        return Activity(tuple(_fetching(stage) for stage in self.stages))


def plan_activity(plan: Plan) -> Activity:
    """Count what `plan` does for one image.

    A queue takes one write and one read a beat, be it of memory or of registers, and belongs to the stage that fills
    it. The beats that the host sends and receives cross the chip's border: they are DRAM traffic (role "host link").
    """
    source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
    link = Counts(accesses=(_link(source, is_input=True), _link(sink, is_input=False), _queue(source)))
    return Activity((StageActivity(HOST_LINK, link), *(_stage(plan, stage) for stage in plan.stages)))


def _stage(plan: Plan, stage: Stage) -> StageActivity:
    queues = Counts(accesses=tuple(_queue(plan.stream[name]) for name in stage.outputs))
    weight_bits = stage.unit.weight_memory_bits if isinstance(stage.unit, MatrixVector | SparseMatrixVector) else 0
    return StageActivity(stage.name, unit_counts(stage.unit) + queues, weight_bits)


def _queue(stream: Stream) -> Access:
    level = Level.SRAM if stream.is_memory else Level.REGISTER
    memory = Memory(stream.name, level, Role.QUEUE, stream.depth * stream.beat.width, stream.beat.width)
    return Access(memory, reads=stream.beats, writes=stream.beats)


def _link(stream: Stream, *, is_input: bool) -> Access:
    memory = Memory(stream.name, Level.DRAM, Role.HOST_LINK, 0, stream.beat.width)
    return Access(memory, reads=stream.beats, writes=0) if is_input else Access(memory, reads=0, writes=stream.beats)


def _fetching(stage: StageActivity) -> StageActivity:
    if not stage.weight_bits:
        return stage
    memory = Memory("weights", Level.DRAM, Role.WEIGHTS, 0, 1)
    fetch = Access(memory, reads=stage.weight_bits, writes=0)
    return replace(stage, counts=stage.counts + Counts(accesses=(fetch,)))
