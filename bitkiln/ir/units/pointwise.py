"""Units that treat each beat by itself or reduce a run of beats: pooling, add, requantise, top-k."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np

from ._timing import NEVER, InputTiming, OutputTiming, Process, every, last_of_each
from ._unit import Beat, Rescale, Unit


class Reduction(Enum):
    """What a pool makes of the beats of its window."""

    MAX = "max"
    SUM = "sum"


@dataclass(frozen=True)
class Pool(Unit):
    """Reduces every `window` beats to one, lane by lane; a sum may be rescaled (average pooling).

    With `bipolar` elements the largest is 1 where any is.
    """

    kind: ClassVar[str] = "pool"
    reduction: Reduction
    window: int
    results: int
    lanes: int
    input_bits: int
    input_signed: bool
    bits: int
    signed: bool
    rescale: Rescale | None = None
    bipolar: bool = False

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, self.input_bits, self.input_signed, self.bipolar),)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, self.bits, self.signed, self.bipolar),)

    @property
    def latency(self) -> int:
        return 2 + (Rescale.LATENCY if self.rescale else 0)

    def timing(self) -> tuple[Process, ...]:
        steps = self.window * self.results
        output = OutputTiming(last_of_each(steps, self.window), self.latency)
        return (Process(steps, ((0, every(steps)),), ((0, output),)),)


@dataclass(frozen=True)
class AddStreams(Unit):
    """Adds two streams beat by beat: (a << shifts[0]) + (b << shifts[1]), then rescales if asked."""

    kind: ClassVar[str] = "add"
    beats: int
    lanes: int
    a: Beat
    b: Beat
    shifts: tuple[int, int]
    bits: int
    signed: bool
    rescale: Rescale | None = None

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.a, self.b)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, self.bits, self.signed),)

    @property
    def latency(self) -> int:
        return 1 + (Rescale.LATENCY if self.rescale else 0)

    def timing(self) -> tuple[Process, ...]:
        output = OutputTiming(every(self.beats).pops, self.latency)
        return (Process(self.beats, ((0, every(self.beats)), (1, every(self.beats))), ((0, output),)),)


@dataclass(frozen=True)
class RescaleStream(Unit):
    """Requantises each element of a stream."""

    kind: ClassVar[str] = "requantise"
    beats: int
    lanes: int
    input_bits: int
    input_signed: bool
    rescale: Rescale

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, self.input_bits, self.input_signed),)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.lanes, self.rescale.bits, self.rescale.signed),)

    @property
    def latency(self) -> int:
        return 1 + Rescale.LATENCY

    def timing(self) -> tuple[Process, ...]:
        output = OutputTiming(every(self.beats).pops, self.latency)
        return (Process(self.beats, ((0, every(self.beats)),), ((0, output),)),)


@dataclass(frozen=True)
class TopKStream(Unit):
    """Gives the indices of the `k` largest of `count` elements, of equals the first; one element a beat.

    The largest so far are kept in order, and each new one is put in its place. The indices leave one a cycle, the first
    with the last element; until they have left nothing enters.
    """

    kind: ClassVar[str] = "top_k"
    MOST: ClassVar[int] = 16  # each of the largest is a comparator that works in every cycle
    count: int
    input_bits: int
    input_signed: bool
    bits: int
    k: int = 1

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (Beat(1, self.input_bits, self.input_signed),)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(1, self.bits, False),)

    @property
    def steps(self) -> int:
        """Cycles between images."""
        return self.count + self.k - 1

    def timing(self) -> tuple[Process, ...]:
        elements, steps = np.arange(self.count, dtype=np.int64), np.arange(self.steps, dtype=np.int64)
        takes = InputTiming(np.where(steps < self.count, steps, NEVER), elements)
        return (Process(self.steps, ((0, takes),), ((0, OutputTiming(steps[self.count - 1 :], 1)),)),)
