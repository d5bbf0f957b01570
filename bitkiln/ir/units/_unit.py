"""What every hardware unit is, and the requantisation that several of them end with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ._timing import Process


@dataclass(frozen=True)
class Beat:
    """What one transfer of a stream carries: `lanes` elements of `bits` bits, element 0 in the lowest bits."""

    lanes: int
    bits: int
    signed: bool

    @property
    def width(self) -> int:
        """Bits of the payload."""
        return self.lanes * self.bits

    def __str__(self) -> str:
        return f"{self.lanes} x {'i' if self.signed else 'u'}{self.bits}"


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
