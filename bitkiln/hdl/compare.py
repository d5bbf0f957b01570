"""Compares what a simulation gave with what it should give, beat by beat and cycle by cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .trace import Beats, Cycles, Trace


@dataclass(frozen=True)
class WrongBeat:
    """An output beat with other bits than expected; `expected` and `came` are its bytes, lowest first."""

    beat: int
    expected: bytes
    came: bytes

    def __str__(self) -> str:
        differing = int.from_bytes(self.expected, "little") ^ int.from_bytes(self.came, "little")
        lowest_bit = (differing & -differing).bit_length() - 1
        return (
            f"output beat {self.beat} is 0x{self.came[::-1].hex()}, expected 0x{self.expected[::-1].hex()} "
            f"({differing.bit_count()} bits differ, the lowest is bit {lowest_bit})"
        )


@dataclass(frozen=True)
class WrongCycle:
    """An output beat that was accepted in another cycle than expected."""

    beat: int
    expected: int
    came: int

    def __str__(self) -> str:
        return f"output beat {self.beat} came in cycle {self.came}, expected in cycle {self.expected}"


@dataclass(frozen=True)
class Mismatches:
    """What differs between a trace and the expectation.

    Of `beats` output beats `wrong_beats` have wrong bits and `wrong_cycles` came in the wrong cycle; the first of each
    is given. Where no cycles were expected, none is wrong.
    """

    beats: int
    wrong_beats: int
    wrong_cycles: int
    first_wrong_beat: WrongBeat | None
    first_wrong_cycle: WrongCycle | None

    @property
    def is_match(self) -> bool:
        return self.wrong_beats == 0 and self.wrong_cycles == 0

    def __str__(self) -> str:
        lines = [f"{self.beats} output beats: {self.wrong_beats} wrong, {self.wrong_cycles} in the wrong cycle"]
        lines += [str(first) for first in (self.first_wrong_beat, self.first_wrong_cycle) if first]
        return "\n  ".join(lines)


def compare(trace: Trace, expected_beats: Beats, expected_output_cycles: Cycles | None = None) -> Mismatches:
    """Compare every output beat of a finished run, and its cycle if `expected_output_cycles` (m,) is given.

    `expected_beats` has the shape of `trace.outputs`: the run was asked for that many beats.
    """
    assert expected_beats.shape == trace.outputs.shape, (expected_beats.shape, trace.outputs.shape)
    wrong_beats = np.flatnonzero((trace.outputs != expected_beats).any(axis=1))
    wrong_cycles = np.empty(0, np.intp)
    if expected_output_cycles is not None:
        assert expected_output_cycles.shape == trace.output_cycles.shape, expected_output_cycles.shape
        wrong_cycles = np.flatnonzero(trace.output_cycles != expected_output_cycles)
    first_wrong_beat = None
    first_wrong_cycle = None
    if wrong_beats.size:
        beat = int(wrong_beats[0])
        first_wrong_beat = WrongBeat(beat, expected_beats[beat].tobytes(), trace.outputs[beat].tobytes())
    if expected_output_cycles is not None and wrong_cycles.size:
        beat = int(wrong_cycles[0])
        expected, came = int(expected_output_cycles[beat]), int(trace.output_cycles[beat])
        first_wrong_cycle = WrongCycle(beat, expected, came)
    return Mismatches(len(trace.outputs), len(wrong_beats), len(wrong_cycles), first_wrong_beat, first_wrong_cycle)
