"""How a unit declares its timing: once, as data. The cycle model solves it; a test proves that the RTL keeps it.

A unit is one or more sequencers (`Process`). A sequencer executes a fixed list of steps an image, in order, at most
one a cycle. A step waits until the input beats that it needs are visible, until a place in its output queue is free,
and until the steps of the unit's other sequencers that it names are done. Nothing else ever delays it, so the cycle of
every step is the largest of a few earlier cycles plus constants (a max-plus recurrence).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]

NEVER = -(1 << 60)
"""As a step or beat number: nothing to wait for."""


@dataclass(frozen=True, eq=False)
class InputTiming:
    """`needs[s]`: beat of this image that must be visible at step s, or NEVER. `pops[b]`: step that takes beat b."""

    needs: Steps
    pops: Steps


@dataclass(frozen=True, eq=False)
class OutputTiming:
    """`pushes[b]`: step that issues beat b; it enters the output queue `latency` cycles after that step."""

    pushes: Steps
    latency: int


@dataclass(frozen=True, eq=False)
class Wait:
    """Step s runs at least `delay` cycles after step `steps[s]` of the unit's sequencer `process`.

    A negative number is a step of an earlier image, NEVER is nothing.
    """

    process: int
    steps: Steps
    delay: int


@dataclass(frozen=True, eq=False)
class Process:
    """One sequencer: the number of steps an image and what they wait for. `inputs` and `outputs` go by port number.

    `name` tells it from the unit's others in the report; a unit's only one has none.
    """

    steps: int
    inputs: tuple[tuple[int, InputTiming], ...] = ()
    outputs: tuple[tuple[int, OutputTiming], ...] = ()
    waits: tuple[Wait, ...] = ()
    name: str = ""


def every(steps: int) -> InputTiming:
    """Input timing of a sequencer that takes one beat at each step."""
    beats = np.arange(steps, dtype=np.int64)
    return InputTiming(beats, beats)


def last_of_each(steps: int, group: int) -> Steps:
    """The last step of every `group` steps."""
    return np.arange(group - 1, steps, group, dtype=np.int64)
