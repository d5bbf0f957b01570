"""Exact cycles of a dataflow Plan: the least solution of the max-plus recurrences that its units declare.

Each sequencer's step runs at the largest of: the cycle after its previous step, and some earlier cycles plus constants
(an input beat visible, a queue place free, another sequencer of the unit done). Starting from a lower bound, arrays of
step times are raised, sequencer by sequencer with a prefix maximum, until nothing changes: the least fixed point, which is
what the hardware does. Images are solved one after the other, because no step waits for a later image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bitkiln.ir import Plan, fail
from bitkiln.ir.units import InputTiming, OutputTiming, Process, Steps

MAX_IMAGES = 64


@dataclass(frozen=True, eq=False)
class _Edge:
    """A sequencer waits for steps of another: `steps` are relative to the same image, see `Wait`."""

    source: int
    steps: Steps
    delay: int
    lookback: int


@dataclass(frozen=True, eq=False)
class DataflowCycles:
    """When every beat moves. Cycle 0 is the one in which the first input beat is accepted.

    `input_cycles` and `output_cycles` are [images, beats]; after the last image that was solved they repeat every
    `interval` cycles. `latency` counts from the first accepted input beat to the last output beat of the first image, both
    included. `interval` is the distance between the last output beats of successive images in the steady state.
    `busy` is the number of steps of each stage in one image (its cycles without stalls).
    """

    latency: int
    interval: int
    solved_images: int
    busy: dict[str, int]
    queue_peaks: dict[str, int]
    _input_cycles: Steps
    _output_cycles: Steps

    def input_cycles(self, images: int) -> Steps:
        """Return [images, beats]: the cycle in which each input beat is accepted, the source never waiting."""
        return _extended(self._input_cycles, images, self.interval)

    def output_cycles(self, images: int) -> Steps:
        """Return [images, beats]: the cycle in which each output beat is taken, the sink always ready."""
        return _extended(self._output_cycles, images, self.interval)


def dataflow_cycles(plan: Plan, unlimited: frozenset[str] = frozenset()) -> DataflowCycles:
    """Solve `plan` for as many images as it takes to repeat; queues named in `unlimited` never run full.

    Raises ToolError `deadlock` if some step can never run.
    """
    return _Solver(plan, unlimited).solve()


class _Solver:
    def __init__(self, plan: Plan, unlimited: frozenset[str]) -> None:
        self.plan = plan
        self.processes: list[Process] = []
        self.first: list[int] = []
        for stage in plan.stages:
            self.first.append(len(self.processes))
            self.processes += stage.unit.timing()
        self.source, self.sink = len(self.processes), len(self.processes) + 1
        source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
        self.processes += [_all_steps(source.beats), _all_steps(sink.beats)]
        self.edges: list[list[_Edge]] = [[] for _ in self.processes]
        for stage_index, stage in enumerate(plan.stages):
            for offset in range(len(stage.unit.timing())):
                index = self.first[stage_index] + offset
                for wait in self.processes[index].waits:
                    self._edge(index, self.first[stage_index] + wait.process, wait.steps, wait.delay)
        for stream in plan.streams:
            self._connect(stream.name, stream.name in unlimited)
        self.times = [np.empty(0, np.int64) for _ in self.processes]

    def _edge(self, target: int, source: int, steps: Steps, delay: int) -> None:
        real = steps[steps > -(1 << 50)]
        lookback = int(-(real.min() // self.processes[source].steps)) if len(real) else 0
        self.edges[target].append(_Edge(source, steps, delay, max(0, lookback)))

    def _output(self, name: str) -> tuple[int, OutputTiming]:
        """The sequencer that gives the stream's beats, and when."""
        if name == self.plan.input_stream:
            return self.source, OutputTiming(np.arange(self.plan.stream[name].beats, dtype=np.int64), 0)
        stage, port = self.plan.producer[name]
        return next(
            (self.first[stage] + i, timing)
            for i, process in enumerate(self.plan.stages[stage].unit.timing())
            for number, timing in process.outputs
            if number == port
        )

    def _input(self, name: str) -> tuple[int, InputTiming]:
        """The sequencer that takes the stream's beats, and when."""
        if name == self.plan.output_stream:
            beats = np.arange(self.plan.stream[name].beats, dtype=np.int64)
            return self.sink, InputTiming(beats, beats)
        stage, port = self.plan.consumer[name]
        return next(
            (self.first[stage] + i, timing)
            for i, process in enumerate(self.plan.stages[stage].unit.timing())
            for number, timing in process.inputs
            if number == port
        )

    def _connect(self, name: str, is_unlimited: bool) -> None:
        stream = self.plan.stream[name]
        producer, output = self._output(name)
        consumer, taken = self._input(name)
        assert len(output.pushes) == len(taken.pops) == stream.beats, (name, len(output.pushes), len(taken.pops))
        needed = np.full(len(taken.needs), -(1 << 60), np.int64)
        needed[taken.needs >= 0] = output.pushes[taken.needs[taken.needs >= 0]]
        self._edge(consumer, producer, needed, output.latency + stream.latency)
        if not is_unlimited:
            image, beat = np.divmod(np.arange(stream.beats, dtype=np.int64) - stream.depth, stream.beats)
            places = np.full(self.processes[producer].steps, -(1 << 60), np.int64)
            places[output.pushes] = taken.pops[beat] + image * self.processes[consumer].steps
            self._edge(producer, consumer, places, 1)

    def solve(self) -> DataflowCycles:
        lookback = max((edge.lookback for edges in self.edges for edge in edges), default=0) + 1
        repeats, interval = 0, 0
        for image in range(MAX_IMAGES):
            self._solve_image(image)
            if image:
                shifts = [int(shift) for shift in self._shift(image)]
                same = len(set(shifts)) == 1 and shifts[0] >= 0
                repeats = repeats + 1 if same and (shifts[0] == interval or not repeats) else int(same)
                interval = shifts[0]
            if repeats >= lookback:
                break
        else:
            interval = self._last_interval(MAX_IMAGES - 1)
        return self._result(image + 1, interval)

    def _shift(self, image: int) -> list[int]:
        """For each sequencer: how much later than the previous image's its steps run, or -1 if not all alike."""
        shifts = []
        for process, times in zip(self.processes, self.times, strict=True):
            steps = process.steps
            moved = times[image * steps :] - times[(image - 1) * steps : image * steps]
            shifts.append(int(moved[0]) if bool((moved == moved[0]).all()) else -1)
        return shifts

    def _last_interval(self, image: int) -> int:
        times = self.times[self.sink]
        return int(times[-1] - times[-1 - self.processes[self.sink].steps])

    def _solve_image(self, image: int) -> None:
        for index, process in enumerate(self.processes):
            start = int(self.times[index][-1]) + 1 if image else 0
            fresh = start + np.arange(process.steps, dtype=np.int64)
            self.times[index] = np.concatenate([self.times[index], fresh])
        limit = self._time_limit(image)
        order = [self.source, *range(self.source), self.sink]
        dirty = set(order)
        while dirty:
            for index in (*order, *reversed(order)):
                if index in dirty:
                    dirty.discard(index)
                    if self._raise(index, image):
                        dirty |= self.readers[index]
                        if self.times[index][-1] > limit:
                            raise fail(
                                "deadlock", f"the plan of {self.plan.graph.name} deadlocks at {self._place(index)}"
                            )

    def _raise(self, index: int, image: int) -> bool:
        """Recompute one sequencer's times of `image`; return whether any rose."""
        process = self.processes[index]
        times = self.times[index]
        current = times[image * process.steps :]
        bound = current.copy()
        for edge in self.edges[index]:
            steps = edge.steps + image * self.processes[edge.source].steps
            waiting = steps >= 0
            if bool(waiting.all()):
                np.maximum(bound, self.times[edge.source][steps] + edge.delay, out=bound)
            else:
                bound[waiting] = np.maximum(bound[waiting], self.times[edge.source][steps[waiting]] + edge.delay)
        ramp = np.arange(process.steps, dtype=np.int64)
        raised = np.maximum.accumulate(bound - ramp) + ramp
        if bool((raised == current).all()):
            return False
        times[image * process.steps :] = raised
        return True

    @cached_property
    def readers(self) -> list[set[int]]:
        """The sequencers that wait for each sequencer."""
        readers: list[set[int]] = [set() for _ in self.processes]
        for target, edges in enumerate(self.edges):
            for edge in edges:
                if edge.source != target:
                    readers[edge.source].add(target)
        return readers

    def _time_limit(self, image: int) -> int:
        """No schedule without deadlock ends later: all steps and all delays one after the other."""
        delays = max((edge.delay for edges in self.edges for edge in edges), default=0)
        return (image + 2) * (sum(process.steps for process in self.processes) + 1) * (delays + 1)

    def _place(self, index: int) -> str:
        owners = [stage.name for stage, first in zip(self.plan.stages, self.first, strict=True) if first <= index]
        return owners[-1] if index < self.source else "its ports"

    def _result(self, images: int, interval: int) -> DataflowCycles:
        zero = int(self.times[self.source][0])
        source = self.times[self.source].reshape(images, -1) - zero
        sink = self.times[self.sink].reshape(images, -1) - zero
        busy = {stage.name: max(process.steps for process in stage.unit.timing()) for stage in self.plan.stages}
        peaks = {stream.name: self._peak(stream.name) for stream in self.plan.streams}
        return DataflowCycles(int(sink[0, -1]) + 1, interval, images, busy, peaks, source, sink)

    def _peak(self, name: str) -> int:
        """The most places of the queue that are ever taken, from issue to pop."""
        producer, output = self._output(name)
        consumer, taken = self._input(name)
        issued = self.times[producer].reshape(-1, self.processes[producer].steps)[:, output.pushes].reshape(-1)
        popped = self.times[consumer].reshape(-1, self.processes[consumer].steps)[:, taken.pops].reshape(-1)
        freed = np.searchsorted(popped, issued, side="left")  # popped in an earlier cycle than the issue
        return int((np.arange(1, len(issued) + 1) - freed).max())


def _all_steps(beats: int) -> Process:
    return Process(beats)


def _extended(cycles: Steps, images: int, interval: int) -> Steps:
    known = cycles[:images]
    extra = images - len(known)
    if extra <= 0:
        return known
    later = cycles[-1] + interval * np.arange(1, extra + 1, dtype=np.int64)[:, None]
    return np.concatenate([known, later])
