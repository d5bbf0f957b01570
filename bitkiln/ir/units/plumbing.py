"""Units that only move beats: width converters and forks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bitkiln.ir.diagnostics import fail

from ._timing import InputTiming, OutputTiming, Process, every, last_of_each
from ._unit import Beat, Unit


@dataclass(frozen=True)
class Resize(Unit):
    """Converts between beats of `lanes_in` and `lanes_out` elements; one must divide the other."""

    kind: ClassVar[str] = "resize"
    elements: int
    lanes_in: int
    lanes_out: int
    bits: int
    signed: bool
    bipolar: bool = False

    def __post_init__(self) -> None:
        wide, narrow = max(self.lanes_in, self.lanes_out), min(self.lanes_in, self.lanes_out)
        if wide % narrow or self.elements % wide:
            raise fail("bad-folding", f"cannot convert beats of {self.lanes_in} to {self.lanes_out} elements")

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes_in, self.bits, self.signed, self.bipolar),)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes_out, self.bits, self.signed, self.bipolar),)

    @property
    def ratio(self) -> int:
        """Narrow beats in a wide one."""
        return max(self.lanes_in, self.lanes_out) // min(self.lanes_in, self.lanes_out)

    def timing(self) -> tuple[Process, ...]:
        steps = self.elements // min(self.lanes_in, self.lanes_out)
        all_steps = np.arange(steps, dtype=np.int64)
        if self.lanes_in > self.lanes_out:
            takes = InputTiming(all_steps // self.ratio, last_of_each(steps, self.ratio))
            return (Process(steps, ((0, takes),), ((0, OutputTiming(all_steps, 0)),)),)
        gives = OutputTiming(last_of_each(steps, self.ratio), 0)
        return (Process(steps, ((0, every(steps)),), ((0, gives),)),)


@dataclass(frozen=True)
class Fork(Unit):
    """Copies a stream to `ways` streams; a beat moves when all of them have room."""

    kind: ClassVar[str] = "fork"
    beats: int
    beat: Beat
    ways: int

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.beat,)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (self.beat,) * self.ways

    def timing(self) -> tuple[Process, ...]:
        gives = OutputTiming(every(self.beats).pops, 0)
        return (Process(self.beats, ((0, every(self.beats)),), tuple((way, gives) for way in range(self.ways))),)
