"""The cycle model once more, as slowly and plainly as possible: one clock cycle after the other, one step at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bitkiln.ir import Plan, Stream
from bitkiln.ir.units import NEVER, Process


@dataclass
class Queue:
    """When each beat was issued by its producer, when it can be seen, and when it was popped; over all images."""

    stream: Stream
    issued: list[int] = field(default_factory=list)
    visible: list[int] = field(default_factory=list)
    popped: list[int] = field(default_factory=list)

    def shows(self, beat: int, cycle: int) -> bool:
        return beat < len(self.visible) and self.visible[beat] <= cycle

    def has_room(self, cycle: int) -> bool:
        """A place is free again in the cycle after its beat was popped."""
        over = len(self.issued) - self.stream.depth
        return over < 0 or (over < len(self.popped) and self.popped[over] < cycle)


@dataclass
class Runner:
    """A sequencer: the cycles of its steps so far."""

    process: Process
    siblings: list[Runner]
    inputs: list[Queue]
    outputs: list[Queue]
    cycles: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.held: set[tuple[str, str]] = set()
        self.pops = {port: set(taken.pops.tolist()) for port, taken in self.process.inputs}
        self.pushes = {port: set(given.pushes.tolist()) for port, given in self.process.outputs}

    def try_step(self, cycle: int) -> None:
        image, step = divmod(len(self.cycles), self.process.steps)
        self.held = set(self.missing(image, step, cycle))
        if not self.held:
            self._step(step, cycle)

    def missing(self, image: int, step: int, cycle: int) -> Iterator[tuple[str, str]]:
        """All that keeps the step from running now: beats, places, and steps of the same unit."""
        for port, taken in self.process.inputs:
            queue = self.inputs[port]
            if taken.needs[step] != NEVER and not queue.shows(taken.needs[step] + image * queue.stream.beats, cycle):
                yield "input", queue.stream.name
        for port, pushes in self.pushes.items():
            if step in pushes and not self.outputs[port].has_room(cycle):
                yield "room", self.outputs[port].stream.name
        for wait in self.process.waits:
            other = self.siblings[wait.process]
            number = wait.steps[step] + image * other.process.steps
            if wait.steps[step] != NEVER and number >= 0 and not other.was_done(number, cycle - wait.delay):
                yield "unit", ""

    def was_done(self, number: int, cycle: int) -> bool:
        return number < len(self.cycles) and self.cycles[number] <= cycle

    def _step(self, step: int, cycle: int) -> None:
        self.cycles.append(cycle)
        for port, pops in self.pops.items():
            if step in pops:
                self.inputs[port].popped.append(cycle)
        for port, given in self.process.outputs:
            if step in self.pushes[port]:
                queue = self.outputs[port]
                queue.issued.append(cycle)
                queue.visible.append(cycle + given.latency + queue.stream.latency)


@dataclass
class Reasons:
    """One unit in one cycle: whether any of its sequencers stepped, and all that any of them lacked."""

    has_stepped: bool
    missing: set[tuple[str, str]]


def run(plan: Plan, cycles: int) -> tuple[list[int], list[int]]:
    """Return in which cycles input beats are accepted and output beats are taken, for that many cycles."""
    inputs, outputs, _ = _run(plan, cycles)
    return inputs, outputs


def run_with_reasons(plan: Plan, cycles: int) -> dict[str, list[Reasons]]:
    """Return for every unit, the input and the output what each cycle saw."""
    return _run(plan, cycles)[2]


def _run(plan: Plan, cycles: int) -> tuple[list[int], list[int], dict[str, list[Reasons]]]:
    queues = {stream.name: Queue(stream) for stream in plan.streams}
    units: dict[str, list[Runner]] = {}
    for stage in plan.stages:
        siblings: list[Runner] = []
        for process in stage.unit.timing():
            inputs, outputs = ([queues[name] for name in names] for names in (stage.inputs, stage.outputs))
            siblings.append(Runner(process, siblings, inputs, outputs))
        units[stage.name] = siblings
    source, sink = queues[plan.input_stream], queues[plan.output_stream]
    reasons: dict[str, list[Reasons]] = {name: [] for name in ("the input", *units, "the output")}
    for cycle in range(cycles):
        reasons["the input"].append(Reasons(source.has_room(cycle), {("room", source.stream.name)}))
        if source.has_room(cycle):
            source.issued.append(cycle)
            source.visible.append(cycle + source.stream.latency)
        for name, runners in units.items():
            for runner in runners:
                runner.try_step(cycle)
            held = set().union(*(runner.held for runner in runners))
            reasons[name].append(Reasons(not all(runner.held for runner in runners), held))
        reasons["the output"].append(Reasons(sink.shows(len(sink.popped), cycle), {("input", sink.stream.name)}))
        if sink.shows(len(sink.popped), cycle):
            sink.popped.append(cycle)
    return source.issued, sink.popped, reasons
