"""What every hardware unit is, and the requantisation that several of them end with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ._timing import Process


@dataclass(frozen=True)
class Beat:
    """What one transfer of a stream carries: `lanes` elements of `bits` bits, element 0 in the lowest bits.

    A `bipolar` element is one bit: 0 is the code -1, 1 is the code 1.
    """

    lanes: int
    bits: int
    signed: bool
    bipolar: bool = False

    def __post_init__(self) -> None:
        assert not self.bipolar or (self.bits == 1 and not self.signed), self

    @property
    def width(self) -> int:
        """Bits of the payload."""
        return self.lanes * self.bits

    @property
    def code_range(self) -> tuple[int, int]:
        """The lowest and the highest code of an element."""
        if self.bipolar:
            return -1, 1
        return (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, (1 << self.bits) - 1)

    def field(self, code: int) -> int:
        """Return the bits of an element with this code, as an unsigned number."""
        return (code + 1) >> 1 if self.bipolar else code & ((1 << self.bits) - 1)

    def code(self, field: int) -> int:
        """Return the code that the lowest bits of `field` stand for."""
        field &= (1 << self.bits) - 1
        if self.bipolar:
            return 2 * field - 1
        return field - (1 << self.bits) if self.signed and field >> (self.bits - 1) else field

    def __str__(self) -> str:
        number = "bipolar" if self.bipolar else f"{'i' if self.signed else 'u'}{self.bits}"
        return f"{self.lanes} x {number}"


@dataclass(frozen=True)
class Unit(ABC):
    """One block of the dataflow accelerator: streams in, streams out, a declared timing."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def inputs(self) -> tuple[Beat, ...]:
        """What each input port takes."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Beat, ...]:
        """What each output port gives."""

    @abstractmethod
    def timing(self) -> tuple[Process, ...]:
        """The sequencers of one image."""

    @property
    def multipliers(self) -> int:
        """Multipliers that work in parallel."""
        return 0

    @property
    def dsp_blocks(self) -> int:
        """The multiplier blocks that these take: fewer than `multipliers` where products are packed or made of LUTs."""
        return self.multipliers


@dataclass(frozen=True)
class Rescale:
    """clamp((x * multiplier + half) >> shift, lo, hi): the hardware form of `requantise`, shift one for all.

    half is 2**(shift-1), or 0 for a shift <= 0, which is a left shift. Takes three pipeline stages.
    """

    bits: int
    signed: bool
    lo: int
    hi: int
    shift: int
    multiplier: int = 1

    LATENCY: ClassVar[int] = 3

    @property
    def half(self) -> int:
        return 1 << (self.shift - 1) if self.shift > 0 else 0
