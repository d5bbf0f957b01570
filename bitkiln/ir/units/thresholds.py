"""Codes by comparison: as the end of a matrix-vector unit, or as a unit of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ._timing import OutputTiming, Process, every
from ._unit import Beat, Unit


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Row r of a value x becomes `base[r] + step[r] * (how many of values[r] are at most x)`.

    values: [rows, n] with n >= 1, each row rising. A sign is one threshold, base -1 and step 2.
    """

    values: NDArray[np.int64] = field(repr=False)
    base: tuple[int, ...]
    step: tuple[int, ...]

    def __post_init__(self) -> None:
        rows, count = self.values.shape
        assert count >= 1 and len(self.base) == len(self.step) == rows, (self.values.shape, self.base, self.step)
        assert bool((np.diff(self.values, axis=1) >= 0).all()), "thresholds rise"

    @property
    def count(self) -> int:
        """Thresholds a row."""
        return int(self.values.shape[1])

    @property
    def latency(self) -> int:
        """Cycles from the register that is compared: a sign is its top bit, others are compared, then counted."""
        return 0 if self.count == 1 else 2

    @property
    def code_range(self) -> tuple[int, int]:
        """The lowest and the highest code that the thresholds give."""
        ends = [*self.base, *(base + step * self.count for base, step in zip(self.base, self.step, strict=True))]
        return min(ends), max(ends)

    def apply(self, x: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the codes of x [..., rows]."""
        reached = (x[..., None] >= self.values).sum(-1)
        result: NDArray[np.int64] = np.array(self.base) + np.array(self.step) * reached
        return result


@dataclass(frozen=True, eq=False)
class ThresholdStream(Unit):
    """Compares each element of a stream; the rows of `thresholds` go round, `lanes` of them a beat."""

    kind: ClassVar[str] = "threshold"
    beats: int
    input: Beat
    output: Beat
    thresholds: Thresholds

    def __post_init__(self) -> None:
        rows = len(self.thresholds.values)
        assert rows % self.input.lanes == 0 and self.beats % (rows // self.input.lanes) == 0, self

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return (self.input,)

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return (self.output,)

    @property
    def latency(self) -> int:
        """Stages: the beat with its rows, difference from the first threshold, then those of `Thresholds`."""
        return 2 + self.thresholds.latency

    def timing(self) -> tuple[Process, ...]:
        output = OutputTiming(every(self.beats).pops, self.latency)
        return (Process(self.beats, ((0, every(self.beats)),), ((0, output),)),)
