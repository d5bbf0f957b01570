"""Any function of a code, as a table; and the product of two streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ._timing import OutputTiming, Process, every
from ._unit import Beat, Rescale, Unit

MOST_TABLE_BITS = 10
"""A table has at most 2**10 entries."""


@dataclass(frozen=True)
class LookupStream(Unit):
    """Replaces each element: `table[i]` is the code for the element whose bits are the unsigned number i."""

    kind: ClassVar[str] = "lookup"
    beats: int
    input: Beat
    output: Beat
    table: tuple[int, ...] = field(repr=False)

    LATENCY: ClassVar[int] = 2

    def __post_init__(self) -> None:
        assert self.input.bits <= MOST_TABLE_BITS and len(self.table) == 1 << self.input.bits, self

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.input,)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (self.output,)

    def timing(self) -> tuple[Process, ...]:
        output = OutputTiming(every(self.beats).pops, self.LATENCY)
        return (Process(self.beats, ((0, every(self.beats)),), ((0, output),)),)


@dataclass(frozen=True)
class MultiplyStreams(Unit):
    """Multiplies two streams element by element and rescales the product."""

    kind: ClassVar[str] = "multiply"
    beats: int
    a: Beat
    b: Beat
    rescale: Rescale

    LATENCY: ClassVar[int] = 2 + Rescale.LATENCY

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.a, self.b)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (Beat(self.a.lanes, self.rescale.bits, self.rescale.signed),)

    @property
    def multipliers(self) -> int:
        return self.a.lanes

    def timing(self) -> tuple[Process, ...]:
        output = OutputTiming(every(self.beats).pops, self.LATENCY)
        return (Process(self.beats, ((0, every(self.beats)), (1, every(self.beats))), ((0, output),)),)
