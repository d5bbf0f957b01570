"""What a run of an accelerator gives: every output beat and the cycle of every handshake, or why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import ToolError, fail

from .flow import DRAIN_CYCLES

Beats = NDArray[np.uint8]
Cycles = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trace:
    """A finished run with n input and m output beats.

    `outputs` is (m, bytes a beat), little-endian: bit b of a payload is bit b % 8 of byte b // 8, unused bits are 0.
    `input_cycles` (n,) and `output_cycles` (m,) are the cycles of acceptance, 0 being the first cycle after reset;
    `cycles` is the number of cycles until the last beat was accepted.
    """

    outputs: Beats
    input_cycles: Cycles
    output_cycles: Cycles
    cycles: int


class Outcome(Enum):
    """How a run ended. The compiled harness numbers the members in this order."""

    FINISHED = "finished"
    TOO_MANY_CYCLES = "too many cycles"
    DEADLOCK = "deadlock"
    UNSTABLE_OUTPUT = "unstable output"
    SURPLUS_OUTPUT = "surplus output"


@dataclass(frozen=True)
class Progress:
    """How far a run came: accepted beats of all beats on each side, and the cycle in which it ended."""

    inputs_accepted: int
    input_beats: int
    outputs_accepted: int
    output_beats: int
    cycle: int

    def __str__(self) -> str:
        return (
            f"{self.outputs_accepted} of {self.output_beats} output beats came, "
            f"{self.inputs_accepted} of {self.input_beats} input beats were accepted"
        )


def failure(outcome: Outcome, progress: Progress) -> ToolError:
    """Return the error for a run that did not finish."""
    cycle = progress.cycle
    match outcome:
        case Outcome.TOO_MANY_CYCLES:
            message = f"the simulation did not end within {cycle} cycles: {progress}"
            return fail("simulation-stuck", message, hint="raise max_cycles, or look for a FIFO that is too small")
        case Outcome.DEADLOCK:
            message = f"the simulation is stuck, no register changes any more at cycle {cycle}: {progress}"
            hint = "look for a FIFO that is too small, or for more expected outputs than the inputs give"
            return fail("simulation-stuck", message, hint=hint)
        case Outcome.UNSTABLE_OUTPUT:
            message = (
                f"the output changed at cycle {cycle} before it was accepted: valid and payload must stay until "
                f"ready is high; {progress}"
            )
            return fail("unstable-output", message)
        case Outcome.SURPLUS_OUTPUT:
            message = f"an output beat came at cycle {cycle} after all expected ones: {progress}"
            hint = f"outputs are looked for until {DRAIN_CYCLES} cycles after the last expected one"
            return fail("surplus-output", message, hint=hint)
        case Outcome.FINISHED:
            raise AssertionError("a finished run is no failure")
    assert_never(outcome)
