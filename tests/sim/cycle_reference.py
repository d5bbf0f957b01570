"""The cycle model once more, as slowly and plainly as possible: one clock cycle after the other, one step at a time."""

from __future__ import annotations

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
        self.pops = {port: set(taken.pops.tolist()) for port, taken in self.process.inputs}
        self.pushes = {port: set(given.pushes.tolist()) for port, given in self.process.outputs}

    def try_step(self, cycle: int) -> None:
        image, step = divmod(len(self.cycles), self.process.steps)
        if self._may_step(image, step, cycle):
            self._step(step, cycle)

    def _may_step(self, image: int, step: int, cycle: int) -> bool:
        for port, taken in self.process.inputs:
            queue = self.inputs[port]
            if taken.needs[step] != NEVER and not queue.shows(taken.needs[step] + image * queue.stream.beats, cycle):
                return False
        for port, pushes in self.pushes.items():
            if step in pushes and not self.outputs[port].has_room(cycle):
                return False
        for wait in self.process.waits:
            other = self.siblings[wait.process]
            number = wait.steps[step] + image * other.process.steps
            if wait.steps[step] != NEVER and number >= 0 and not other.was_done(number, cycle - wait.delay):
                return False
        return True

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


def run(plan: Plan, cycles: int) -> tuple[list[int], list[int]]:
    """Return in which cycles input beats are accepted and output beats are taken, for that many cycles."""
    queues = {stream.name: Queue(stream) for stream in plan.streams}
    runners: list[Runner] = []
    for stage in plan.stages:
        siblings: list[Runner] = []
        for process in stage.unit.timing():
            inputs, outputs = ([queues[name] for name in names] for names in (stage.inputs, stage.outputs))
            siblings.append(Runner(process, siblings, inputs, outputs))
        runners += siblings
    source, sink = queues[plan.input_stream], queues[plan.output_stream]
    for cycle in range(cycles):
        if source.has_room(cycle):
            source.issued.append(cycle)
            source.visible.append(cycle + source.stream.latency)
        for runner in runners:
            runner.try_step(cycle)
        if sink.shows(len(sink.popped), cycle):
            sink.popped.append(cycle)
    return source.issued, sink.popped
