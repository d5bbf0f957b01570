"""What the user may say about a Plan: clock, budgets, and foldings by hand. The `[plan]` table of project.toml."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from bitkiln.ir import fail
from bitkiln.ir.units import DspBlock, Multiplier, Storage

DEFAULT_MULTIPLIERS = 16
LEAST_RATE = 1e-6
"""Frames a second that may be asked for: one in eleven days."""


class Goal(Enum):
    """What a folding for a board is to be.

    FASTEST: the least interval between images that fits. SMALLEST: the least share of the board that reaches the
    interval or rate asked for. LATENCY: the least sum of the layers' own times, which a single image waits for.
    """

    FASTEST = "fastest"
    SMALLEST = "smallest"
    LATENCY = "latency"


@dataclass(frozen=True)
class LayerFolding:
    """By hand, for the layers whose stage name matches the glob `layer`. What is None stays automatic.

    `pe` divides the output channels (of a group), `simd` the input channels (of a group), or the features of a linear
    layer. A layer without multipliers has one number of lanes, which either names. `storage` says where the weights
    live; the host fills `big` and `loaded`, which the unit that skips weights of 0 does not allow. `sparse` asks for
    that unit (or against it); without, it is taken where few enough are left. `skip_zeros` lets it skip inputs of 0 as
    well: then the cycles depend on the image, and those of the Plan are the most it takes.
    """

    layer: str
    pe: int | None = None
    simd: int | None = None
    storage: Storage | None = None
    multiplier: Multiplier | None = None
    sparse: bool | None = None
    skip_zeros: bool | None = None

    def __post_init__(self) -> None:
        if self.storage and self.storage.is_loaded and (self.sparse or self.skip_zeros):
            raise fail(
                "bad-folding",
                f"{self.layer}: entries of weights that are not 0 cannot be stored as {self.storage.value!r}",
                hint="sparse = false, or storage = 'block'",
            )


@dataclass(frozen=True)
class PlanOptions:
    """`max_multipliers` bounds the automatic folding, which then seeks the least interval. `target_interval` (cycles
    an image) asks for the fewest multipliers that reach it, `frames_per_second` for those that do at `clock_mhz`.
    Without all of them there are 16 multipliers, or one a layer if that is more. `dsp` says how many DSP blocks the
    multipliers may take, None for any number, and `dsp_block` what these can do: several products of few bits take one
    where there are too few, or where it costs nothing. Of several `layers` that match one layer, the last counts.

    With `renewable` the hardware fits any weights and biases of these formats: retrained ones can take their place in a
    finished bitstream (`bitkiln build --patch`) or are loaded by the host. `weight_banks` = 2 gives memories that the
    host fills room for a second set, which it loads while the first is in use.

    With a `board` and no `max_multipliers` the folding is sought among all that fit there: the fastest, or, where an
    interval or rate is asked for, the smallest that reaches it; `goal` says otherwise.

    >>> PlanOptions(clock_mhz=25, max_multipliers=28, layers=(LayerFolding("conv1", pe=4),)).max_multipliers
    28
    """

    clock_mhz: float = 12.0
    max_multipliers: int | None = None
    target_interval: int | None = None
    frames_per_second: float | None = None
    dsp: int | None = None
    dsp_block: DspBlock | None = None
    board: str = ""
    goal: Goal | None = None
    renewable: bool = False
    weight_banks: int = 1
    layers: tuple[LayerFolding, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.clock_mhz < math.inf:
            raise fail("bad-value", f"clock_mhz must be above 0 and finite, not {self.clock_mhz}")
        if self.frames_per_second is not None:
            self._check_rate(self.frames_per_second)
        self._check_goal()
        if self.weight_banks not in (1, 2):
            raise fail("bad-value", f"weight_banks must be 1 or 2, not {self.weight_banks}")
        in_luts = [wish.layer for wish in self.layers if wish.storage is Storage.LUT]
        if self.renewable and in_luts:
            hint = "storage = 'block', 'big' or 'loaded'"
            raise fail("bad-value", f"weights in LUTs are not renewable, as those of {in_luts[0]} would be", hint=hint)
        for name, value, least in (
            ("max_multipliers", self.max_multipliers, 1),
            ("target_interval", self.target_interval, 1),
            ("dsp", self.dsp, 0),
        ):
            if value is not None and value < least:
                raise fail("bad-value", f"{name} must be at least {least}, not {value}")

    def _check_rate(self, rate: float) -> None:
        most = self.clock_mhz * 1e6
        if not LEAST_RATE <= rate <= most:
            message = (
                f"frames_per_second must be at least {LEAST_RATE:g} and at most the clock's {most:g}, not {rate:g}"
            )
            raise fail("bad-value", message)
        if self.target_interval is not None:
            raise fail("bad-value", "target_interval and frames_per_second are the same goal: give one of them")

    def _check_goal(self) -> None:
        if self.goal is None:
            return
        if not self.board:
            raise fail("bad-value", f"the goal {self.goal.value!r} is of a board", hint="name one as board")
        if self.max_multipliers is not None:
            raise fail("bad-value", f"max_multipliers leaves no goal to seek, such as {self.goal.value!r}")
        if self.goal is Goal.SMALLEST and self.interval_goal is None:
            message = "the goal 'smallest' is the smallest that reaches a rate"
            raise fail("bad-value", message, hint="add frames_per_second or target_interval")

    @property
    def wanted(self) -> str:
        """The interval or rate that is asked for, in words."""
        if self.frames_per_second is not None:
            return f"{self.frames_per_second:g} frames_per_second at {self.clock_mhz:g} MHz"
        return f"a target_interval of {self.target_interval} cycles"

    @property
    def board_goal(self) -> Goal | None:
        """What is sought on the board, None where the folding follows from a budget of multipliers."""
        if not self.board or self.max_multipliers is not None:
            return None
        return self.goal or (Goal.FASTEST if self.interval_goal is None else Goal.SMALLEST)

    @property
    def interval_goal(self) -> int | None:
        """The cycles an image that are asked for, or None."""
        if self.frames_per_second is None:
            return self.target_interval
        return math.floor(self.clock_mhz * 1e6 / self.frames_per_second)
