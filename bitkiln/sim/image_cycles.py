"""Exact cycles of given images, where how long a unit takes depends on what it is given.

The same max-plus constraints as in `dataflow`, for each image with the steps that its codes make. The least solution is
found by raising the cycles of all steps, sequencer by sequencer, until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Plan, Stage, fail
from bitkiln.ir.units import NEVER, InputTiming, OutputTiming, Process, SparseMatrixVector, Steps

from ._network import SINK, SOURCE
from ._stalls import Cause, Stalls, Wait, joined_stalls
from .functional import run_streams
from .timeline import Part, Timeline, Window, unit_rows

Codes = NDArray[np.int64]

_IS_REAL = NEVER // 2
MOST_SWEEPS = 100_000
TRACED_RESULTS = 3
"""Images that a timeline is made of: between the last two of them the pipeline is full."""


def depends_on_codes(plan: Plan) -> bool:
    """True if some unit skips inputs of 0."""
    return any(isinstance(stage.unit, SparseMatrixVector) and stage.unit.skip_zeros for stage in plan.stages)


def image_output_cycles(plan: Plan, codes: Codes) -> Steps:
    """Return [images, beats]: when each output beat is taken, cycle 0 being that of the first input beat.

    codes: [images, elements] in the order in which they are streamed in. Source and sink never wait.
    Raises ToolError `deadlock`.
    """
    streams, solver = run_streams(plan, codes), _Solver(plan)
    for image in range(len(codes)):
        solver.solve({name: values[image] for name, values in streams.items()})
    zero = int(solver.sequencers[0].times[0][0])
    cycles: Steps = np.stack(solver.sequencers[-1].times) - zero
    return cycles


def image_timeline(plan: Plan, codes: Codes) -> Timeline | None:
    """Return the timeline of given images, streamed one behind the other: of the first one, and between the results of
    the last two of which every unit's cycles are known. None if there are too few images for the first.

    Of `codes` no more images are taken than it needs.
    """
    streams, solver = run_streams(plan, codes), _Solver(plan, is_traced=True)
    bounds = [0]
    for image in range(len(codes)):
        solver.solve({name: values[image] for name, values in streams.items()})
        known = min(int(sequencer.times[-1][-1]) for sequencer in solver.sequencers)
        results = [int(times[-1]) + 1 for times in solver.sequencers[-1].times]
        bounds = [int(solver.sequencers[0].times[0][0]), *(result for result in results if result <= known + 1)]
        if len(bounds) > TRACED_RESULTS:
            break
    if len(bounds) < 2:
        return None
    steady = solver.window(bounds[-2], bounds[-1]) if len(bounds) > 2 else None
    return Timeline(solver.window(bounds[0], bounds[1]), steady, image + 1)


@dataclass
class _Sequencer:
    """The process of the image that is being solved, and the cycles of all steps of each image, `fresh` of this one."""

    process: Process
    stage: int
    times: list[Steps] = field(default_factory=list)
    past: Steps = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def fresh(self) -> Steps:
        return self.times[-1]

    def begin(self, process: Process) -> None:
        """Start another image behind the last one."""
        self.past = np.concatenate([self.past, self.fresh]) if self.times else self.past
        first = int(self.past[-1]) + 1 if len(self.past) else 0
        self.process = process
        self.times.append(first + np.arange(process.steps, dtype=np.int64))

    def at(self, steps: Steps) -> Steps:
        """The cycles of steps of this image; a negative number is a step of an earlier one, or long ago."""
        return _joined(self.past, self.fresh, steps)

    def raise_to(self, bound: Steps) -> bool:
        """Let no step run before its bound, nor two at once; return whether any is later now."""
        steps = np.arange(len(bound))
        raised = np.maximum.accumulate(np.maximum(self.fresh, bound) - steps) + steps
        if bool((raised == self.fresh).all()):
            return False
        self.times[-1] = raised
        return True


@dataclass
class _Link:
    """One stream: cycles at which its beats of earlier images left, oldest first."""

    producer: int
    consumer: int
    depth: int
    latency: int
    left: Steps = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class _Need:
    """`steps` of a sequencer must not run before the cycles `allowed`, for what they wait for."""

    wait: Wait
    steps: Steps
    allowed: Steps


class _Solver:
    """All sequencers, source first and sink last, image after image."""

    def __init__(self, plan: Plan, is_traced: bool = False) -> None:
        self.plan = plan
        self._is_traced = is_traced
        self.stalls: list[list[Stalls]] = []
        source, sink = (plan.stream[name].beats for name in (plan.input_stream, plan.output_stream))
        self._ends = (_source(source), _sink(sink))
        self.sequencers = [_Sequencer(self._ends[0], -1)]
        self.first: list[int] = []
        for number, stage in enumerate(plan.stages):
            self.first.append(len(self.sequencers))
            self.sequencers += [_Sequencer(process, number) for process in stage.unit.timing()]
        self.sequencers.append(_Sequencer(self._ends[1], len(plan.stages)))
        self.links = {stream.name: self._link(stream.name) for stream in plan.streams}

    def solve(self, codes: Mapping[str, Codes]) -> None:
        """Find the cycles of the next image, in whose streams are these codes."""
        processes = [self._ends[0]]
        for stage in self.plan.stages:
            processes += self._processes(stage, codes)
        for sequencer, process in zip(self.sequencers, [*processes, self._ends[1]], strict=True):
            sequencer.begin(process)
        dirty = set(range(len(self.sequencers)))
        for _ in range(MOST_SWEEPS):
            for number in range(len(self.sequencers)):
                if number in dirty:
                    dirty.discard(number)
                    if self.sequencers[number].raise_to(self._bound(number)):
                        dirty |= self._neighbours(number)
            if not dirty:
                break
        else:
            raise fail("deadlock", f"the plan of {self.plan.graph.name} stops for ever")
        if self._is_traced:
            self.stalls.append([self._stalls(number) for number in range(len(self.sequencers))])
        for name, link in self.links.items():
            consumer = self.sequencers[link.consumer]
            link.left = np.concatenate([link.left, consumer.fresh[self._taken(name, consumer.process).pops]])

    def window(self, begin: int, end: int) -> Window:
        """What every unit does from cycle `begin` to before `end`, all of which must be solved."""
        parts = []
        for number, sequencer in enumerate(self.sequencers):
            stalls = joined_stalls([image[number] for image in self.stalls]).within(begin, end)
            parts.append(Part(self._name(sequencer.stage), sequencer.process.name, stalls))
        return Window(end - begin, 1, unit_rows(parts, end - begin))

    def _processes(self, stage: Stage, codes: Mapping[str, Codes]) -> Sequence[Process]:
        if isinstance(stage.unit, SparseMatrixVector):
            return stage.unit.timing_of(codes[stage.inputs[0]])
        return stage.unit.timing()

    def _bound(self, number: int) -> Steps:
        sequencer = self.sequencers[number]
        process = sequencer.process
        bound = np.full(process.steps, NEVER, np.int64)
        for needed in self._needs(number):
            bound[needed.steps] = np.maximum(bound[needed.steps], needed.allowed)
        return bound

    def _needs(self, number: int) -> Iterator[_Need]:
        """All that steps of this image wait for, by rank of the cause."""
        sequencer = self.sequencers[number]
        process, stage = sequencer.process, sequencer.stage
        for wait in process.waits:
            other = self.sequencers[self.first[stage] + wait.process]
            real = np.flatnonzero(wait.steps > _IS_REAL)
            cause = Wait(Cause.UNIT, self._name(stage), part=wait.process)
            yield _Need(cause, real, other.at(wait.steps[real]) + wait.delay)
        for port, taken in process.inputs:
            name = self._input_name(stage, port)
            link = self.links[name]
            producer = self.sequencers[link.producer]
            given = self._given(name, producer.process)
            visible = producer.fresh[given.pushes] + given.latency + link.latency
            waits = np.flatnonzero(taken.needs > _IS_REAL)
            yield _Need(Wait(Cause.INPUT, self._name(producer.stage), name), waits, visible[taken.needs[waits]])
        for port, given in process.outputs:
            name = self._output_name(stage, port)
            link = self.links[name]
            consumer = self.sequencers[link.consumer]
            leaving = consumer.fresh[self._taken(name, consumer.process).pops]
            free = _joined(link.left, leaving, np.arange(len(given.pushes)) - link.depth) + 1
            yield _Need(Wait(Cause.ROOM, self._name(consumer.stage), name), given.pushes, free)

    def _name(self, stage: int) -> str:
        return SOURCE if stage < 0 else SINK if stage == len(self.plan.stages) else self.plan.stages[stage].name

    def _stalls(self, number: int) -> Stalls:
        """The stalls of the image that was solved last, before another one begins."""
        sequencer = self.sequencers[number]
        free = 1 + np.concatenate([sequencer.past[-1:] if len(sequencer.past) else [-1], sequencer.fresh[:-1]])
        late, needs = np.flatnonzero(sequencer.fresh > free), list(self._needs(number))
        kinds = np.full(len(free), -1, np.int64)
        for kind in reversed(range(len(needs))):
            steps = needs[kind].steps
            kinds[steps[needs[kind].allowed == sequencer.fresh[steps]]] = kind
        assert bool((kinds[late] >= 0).all()), f"a step of {self._name(sequencer.stage)} is late for no reason"
        return Stalls(tuple(need.wait for need in needs), free[late], (sequencer.fresh - free)[late], kinds[late])

    def _neighbours(self, number: int) -> set[int]:
        """The sequencers that may wait for this one: those of its stage and at the other ends of its streams."""
        stage = self.sequencers[number].stage
        found = {other for other, sequencer in enumerate(self.sequencers) if sequencer.stage == stage}
        for link in self.links.values():
            if number in (link.producer, link.consumer):
                found |= {link.producer, link.consumer}
        return found - {number}

    def _input_name(self, stage: int, port: int) -> str:
        return self.plan.output_stream if stage == len(self.plan.stages) else self.plan.stages[stage].inputs[port]

    def _output_name(self, stage: int, port: int) -> str:
        return self.plan.input_stream if stage < 0 else self.plan.stages[stage].outputs[port]

    def _link(self, name: str) -> _Link:
        stream = self.plan.stream[name]
        producer, consumer = 0, len(self.sequencers) - 1
        for number, sequencer in enumerate(self.sequencers):
            for port, _ in sequencer.process.outputs:
                producer = number if self._output_name(sequencer.stage, port) == name else producer
            for port, _ in sequencer.process.inputs:
                consumer = number if self._input_name(sequencer.stage, port) == name else consumer
        return _Link(producer, consumer, stream.depth, stream.latency)

    def _taken(self, name: str, process: Process) -> InputTiming:
        """How the consumer of a stream takes its beats."""
        if name == self.plan.output_stream:
            return process.inputs[0][1]
        _, port = self.plan.consumer[name]
        return next(timing for number, timing in process.inputs if number == port)

    def _given(self, name: str, process: Process) -> OutputTiming:
        if name == self.plan.input_stream:
            return process.outputs[0][1]
        _, port = self.plan.producer[name]
        return next(timing for number, timing in process.outputs if number == port)


def _joined(past: Steps, fresh: Steps, index: Steps) -> Steps:
    """fresh[index], or for a negative index what is so far from the end of `past`, or long ago."""
    found: Steps = np.full(len(index), NEVER, np.int64)
    is_fresh, is_past = index >= 0, (index < 0) & (index >= -len(past))
    found[is_fresh] = fresh[index[is_fresh]]
    found[is_past] = past[index[is_past]]
    return found


def _source(beats: int) -> Process:
    return Process(beats, outputs=((0, OutputTiming(np.arange(beats, dtype=np.int64), 0)),))


def _sink(beats: int) -> Process:
    numbers = np.arange(beats, dtype=np.int64)
    return Process(beats, ((0, InputTiming(numbers, numbers)),))
