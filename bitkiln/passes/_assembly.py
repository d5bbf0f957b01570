"""Folded layers as stages joined by streams, with forks for values of several users and converters between lanes."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from bitkiln.ir import Location, Stage, Stream
from bitkiln.ir.plan import REGISTER_QUEUE_DEPTH
from bitkiln.ir.units import Fork, OutputTiming, Resize, Unit

from ._layers import Folding, Layer
from ._lowering import Lowered

INPUT_STREAM = "input"
OUTPUT_STREAM = "output"


def default_depth(timing: OutputTiming, steps: int) -> int:
    """Return the places that keep a producer of `steps` steps an image from waiting for a consumer that takes at once.

    A place is taken from the push until the cycle after the pop: the unit's latency, the queue's, and one.
    """
    pushes = [int(push) for push in timing.pushes]
    distance = min(b - a for a, b in itertools.pairwise([*pushes, pushes[0] + steps]))
    depth = -(-(timing.latency + 2) // distance)
    if depth > REGISTER_QUEUE_DEPTH:  # a memory, whose latency is one more
        depth = -(-(timing.latency + 3) // distance)
    return max(2, depth)


def output_depth(unit: Unit, port: int) -> int:
    """Return `default_depth` for the queue at an output port."""
    for process in unit.timing():
        for number, timing in process.outputs:
            if number == port:
                return default_depth(timing, process.steps)
    raise AssertionError(port)


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name, or with the first number behind it that is free."""
    numbered = (f"{name}{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)


@dataclass
class Assembler:
    """Collects stages and streams. `waiting` has, for each value, the streams that its users still have to take."""

    lowered: Lowered
    stages: list[Stage] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    waiting: dict[str, list[str]] = field(default_factory=dict)

    def assemble(self, layers: Sequence[tuple[Layer, Folding]]) -> tuple[tuple[Stage, ...], tuple[Stream, ...]]:
        """Return stages and streams of a plan, both in topological order."""
        self.users = [source for layer, _ in layers for source in layer.place.sources] + [self.lowered.output]
        lanes = next(folding.simd for layer, folding in layers if self.lowered.input in layer.place.sources)
        beats = len(self.lowered.input_order) // lanes
        self.streams[INPUT_STREAM] = Stream(INPUT_STREAM, self.lowered.input_format.beat(lanes), beats, 2)
        self._publish(self.lowered.input, INPUT_STREAM, Location())
        for layer, folding in layers:
            self._layer(layer, folding)
        (last,) = self.waiting[self.lowered.output]
        return self._with_output_name(last)

    def _layer(self, layer: Layer, folding: Folding) -> None:
        place = layer.place
        units = layer.units(folding)
        inputs = [
            self._resized(self.waiting[source].pop(0), source, units[0][1].inputs[port].lanes, place.name, place.loc)
            for port, source in enumerate(place.sources)
        ]
        for suffix, unit in units:
            node = place.node if unit is units[-1][1] else place.sources[0]
            inputs = self._stage(place.name + suffix, unit, inputs, node, place.loc)
        self._publish(place.node, inputs[0], place.loc)

    def _publish(self, value: str, stream: str, loc: Location) -> None:
        """Offer a value to its users, through a fork if there are several."""
        ways = self.users.count(value)
        if ways > 1:
            beat, beats = self.streams[stream].beat, self.streams[stream].beats
            name = "fork_" + re.sub(r"[^A-Za-z0-9_.-]", "_", value)
            self.waiting[value] = self._stage(name, Fork(beats, beat, ways), [stream], value, loc)
        else:
            self.waiting[value] = [stream]

    def _resized(self, stream: str, value: str, lanes: int, user: str, loc: Location) -> str:
        """The stream in beats of `lanes`: down to the common divisor first if neither width divides the other."""
        while self.streams[stream].beat.lanes != lanes:
            beat, beats = self.streams[stream].beat, self.streams[stream].beats
            wide, narrow = max(beat.lanes, lanes), min(beat.lanes, lanes)
            target = lanes if wide % narrow == 0 else math.gcd(beat.lanes, lanes)
            unit = Resize(beats * beat.lanes, beat.lanes, target, beat.bits, beat.signed, beat.bipolar)
            (stream,) = self._stage(f"{user}.resize", unit, [stream], value, loc)
        return stream

    def _stage(self, name: str, unit: Unit, inputs: list[str], node: str, loc: Location) -> list[str]:
        """Append a stage; return its output streams, which are named after it as far as that is free."""
        name = _free(name, {stage.name for stage in self.stages})
        names = [name] if len(unit.outputs) == 1 else [f"{name}.{port}" for port in range(len(unit.outputs))]
        outputs = [_free(stream, {INPUT_STREAM, OUTPUT_STREAM, *self.streams}) for stream in names]
        for port, (stream, beat) in enumerate(zip(outputs, unit.outputs, strict=True)):
            beats = next(
                len(timing.pushes) for process in unit.timing() for number, timing in process.outputs if number == port
            )
            self.streams[stream] = Stream(stream, beat, beats, output_depth(unit, port))
        for stream, beat in zip(inputs, unit.inputs, strict=True):
            assert self.streams[stream].beat == beat, (name, self.streams[stream], beat)
        value = self.lowered.reordered.get(node, node)
        self.stages.append(Stage(name, unit, tuple(inputs), tuple(outputs), value, loc))
        return outputs

    def _with_output_name(self, last: str) -> tuple[tuple[Stage, ...], tuple[Stream, ...]]:
        stages = (
            replace(stage, outputs=tuple(OUTPUT_STREAM if name == last else name for name in stage.outputs))
            for stage in self.stages
        )
        streams = (
            replace(stream, name=OUTPUT_STREAM) if stream.name == last else stream for stream in self.streams.values()
        )
        return tuple(stages), tuple(streams)
