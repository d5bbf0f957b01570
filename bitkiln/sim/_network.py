"""The sequencers of a Plan as a network of max-plus constraints between events: steps that wait or are waited for.

Between its events a sequencer runs one step a cycle, so the cycles of the other steps follow and are never computed: a
matrix-vector unit has about as many events as beats, however often it replays its vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bitkiln.ir import Plan, Stream
from bitkiln.ir.units import NEVER, InputTiming, OutputTiming, Process, Steps

_IS_REAL = NEVER // 2

SOURCE, SINK = "the input", "the output"
"""What the ends of a Plan are called among its stages."""


@dataclass(frozen=True, eq=False)
class Sequencer:
    """`at[e]` is the step number of event e; the first and the last step are always events."""

    stage: str
    steps: int
    at: Steps
    name: str = ""

    @property
    def events(self) -> int:
        return len(self.at)


@dataclass(frozen=True, eq=False)
class Edge:
    """Event `at[i]` of the waiting sequencer runs at least `delay` cycles after event `events[i]` of `source`.

    Both count within one image, in which the source has `period` events; a negative event is one of an earlier image.
    `at` rises. `queue` names the queue for a place of which is waited, `stream` the one for a beat of which is;
    both are empty for a wait within a unit.
    """

    source: int
    period: int
    at: Steps
    events: Steps
    delay: int
    queue: str = ""
    stream: str = ""

    @cached_property
    def lookback(self) -> int:
        """How many images before its own the edge reaches."""
        first = int(self.events.min()) if len(self.events) else 0
        return max(0, -(first // self.period))


@dataclass(frozen=True, eq=False)
class Link:
    """A queue: events of the producer that push its beats, events of the consumer that pop them.

    The consumer's events `waiting` wait for the producer's events `needed`.
    """

    stream: Stream
    producer: int
    consumer: int
    pushes: Steps
    pops: Steps
    waiting: Steps
    needed: Steps
    latency: int


class Network:
    """What does not depend on the depths of a Plan's queues. The last two sequencers are the source and the sink."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._timings = [stage.unit.timing() for stage in plan.stages]
        self._first = np.cumsum([0, *(len(timing) for timing in self._timings)]).tolist()
        source, sink = (plan.stream[name].beats for name in (plan.input_stream, plan.output_stream))
        self._processes = [process for timing in self._timings for process in timing]
        self._processes += [Process(source), Process(sink)]
        self.source, self.sink = len(self._processes) - 2, len(self._processes) - 1
        names = [stage.name for stage, timing in zip(plan.stages, self._timings, strict=True) for _ in timing]
        self.sequencers = [
            Sequencer(name, process.steps, np.flatnonzero(self._marks(i)), process.name)
            for i, (name, process) in enumerate(zip([*names, SOURCE, SINK], self._processes, strict=True))
        ]
        self.links = tuple(self._link(stream) for stream in plan.streams)

    def edges(self, depths: Mapping[str, int]) -> list[list[Edge]]:
        """Return what each sequencer waits for, with queues of these depths."""
        edges: list[list[Edge]] = [[*waits] for waits in self.waits]
        for link in self.links:
            data, place = self.link_edges(link, depths[link.stream.name])
            edges[link.consumer].append(data)
            edges[link.producer].append(place)
        return edges

    def link_edges(self, link: Link, depth: int) -> tuple[Edge, Edge]:
        """Return what the consumer waits for, a beat, and what the producer does, one of `depth` places."""
        stream, beats = replace(link.stream, depth=depth), link.stream.beats
        made, taken = (self.sequencers[index].events for index in (link.producer, link.consumer))
        image, beat = np.divmod(np.arange(beats, dtype=np.int64) - depth, beats)
        delay = link.latency + stream.latency
        return (
            Edge(link.producer, made, link.waiting, link.needed, delay, stream=stream.name),
            Edge(link.consumer, taken, link.pushes, link.pops[beat] + image * taken, 1, stream.name),
        )

    @cached_property
    def waits(self) -> list[list[Edge]]:
        """The waits of the units' sequencers for each other."""
        edges: list[list[Edge]] = [[] for _ in self._processes]
        for first, timing in zip(self._first, self._timings, strict=False):
            for offset, process in enumerate(timing):
                for wait in process.waits:
                    real = np.flatnonzero(wait.steps > _IS_REAL)
                    source, target = first + wait.process, first + offset
                    at, events = self._events(target, real), self._events(source, wait.steps[real])
                    edges[target].append(Edge(source, self.sequencers[source].events, at, events, wait.delay))
        return edges

    def _output(self, name: str) -> tuple[int, OutputTiming]:
        """The sequencer that gives the stream's beats, and when."""
        if name == self.plan.input_stream:
            return self.source, OutputTiming(np.arange(self.plan.stream[name].beats, dtype=np.int64), 0)
        stage, port = self.plan.producer[name]
        return next(
            (self._first[stage] + i, timing)
            for i, process in enumerate(self._timings[stage])
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
            (self._first[stage] + i, timing)
            for i, process in enumerate(self._timings[stage])
            for number, timing in process.inputs
            if number == port
        )

    def _marks(self, index: int) -> Steps:
        """[steps]: which steps of a sequencer are events."""
        process = self._processes[index]
        marks = np.zeros(process.steps, bool)
        marks[[0, -1]] = True
        if index >= self.source:
            marks[:] = True
            return marks
        for _, taken in process.inputs:
            marks[taken.needs > _IS_REAL] = True
            marks[taken.pops] = True
        for _, given in process.outputs:
            marks[given.pushes] = True
        for wait in process.waits:
            marks[wait.steps > _IS_REAL] = True
        stage = int(np.searchsorted(self._first, index, side="right")) - 1
        for other in self._timings[stage]:
            for wait in other.waits:
                if self._first[stage] + wait.process == index:
                    marks[wait.steps[wait.steps > _IS_REAL] % process.steps] = True
        return marks

    def _events(self, index: int, steps: Steps) -> Steps:
        """The events at these steps of a sequencer, which may lie in earlier images."""
        sequencer = self.sequencers[index]
        image, step = np.divmod(steps, sequencer.steps)
        event: Steps = np.searchsorted(sequencer.at, step) + image * sequencer.events
        return event

    def _link(self, stream: Stream) -> Link:
        producer, given = self._output(stream.name)
        consumer, taken = self._input(stream.name)
        assert len(given.pushes) == len(taken.pops) == stream.beats, (stream, len(given.pushes), len(taken.pops))
        waiting = np.flatnonzero(taken.needs > _IS_REAL)
        return Link(
            stream,
            producer,
            consumer,
            pushes=self._events(producer, given.pushes),
            pops=self._events(consumer, taken.pops),
            waiting=self._events(consumer, waiting),
            needed=self._events(producer, given.pushes[taken.needs[waiting]]),
            latency=given.latency,
        )
