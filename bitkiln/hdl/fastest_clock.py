"""The fastest clock that a design meets on its board, found on nextpnr's own answers.

nextpnr says how fast a design would run only after it has placed it, and a design with another clock is another
design: its serial port divides by another number. So it is built, given the fastest clock that the answer allows, built
again, and so on until no answer allows a faster one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from bitkiln.boards import Board
from bitkiln.boards.clocks import clock_choices
from bitkiln.ir import Plan, fail

from .build import BuildResult, misses_clock
from .build_plan import build_plan

# A PLL's periods are not all of one length: at 12 to 100 MHz the data sheets allow them to be 1 to 3 % shorter (iCE40
# UltraPlus 750 ps and LP/HX 450 ps from peak to peak, ECP5 2.5 % of a period). nextpnr's delays are those of the
# slowest chip, hot, at the lowest voltage.
MARGIN = 0.03
MOST_BUILDS = 6


def build_fastest(
    plan: Plan,
    board: Board,
    *,
    cache: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
    use_dsp: bool = True,
) -> tuple[Board, BuildResult]:
    """Build the plan at the fastest clock that it meets, and return the board at that clock with the bitstream.

    Raises `untimed-design` if nextpnr does not see all of its paths, and what `build_plan` raises.
    """

    def build(at: Board) -> BuildResult:
        def say(step: str) -> None:
            on_step(f"{step} at {at.clock_hz / 1e6:g} MHz")

        return build_plan(plan, at, cache=cache, on_step=say, use_dsp=use_dsp, must_meet_clock=False)

    return fastest(board, build)


def fastest(board: Board, build: Callable[[Board], BuildResult]) -> tuple[Board, BuildResult]:
    """Return the board at the fastest clock that what `build` makes for it meets, and what it made.

    The board's own clock is tried first. After `MOST_BUILDS` builds the best of them is taken. Raises
    `untimed-design`, and `misses-clock` if none met its clock.
    """
    best: tuple[Board, BuildResult] | None = None
    met_hz, missed_hz = 0, math.inf
    at: Board | None = board
    for _ in range(MOST_BUILDS):
        if at is None:
            break
        built = build(at)
        _check_timed(built, board)
        allowed_hz = built.fmax_mhz * 1e6 * (1 - MARGIN)
        if is_met(at, built):
            best, met_hz = (at, built), at.clock_hz
        else:
            missed_hz = min(missed_hz, at.clock_hz)
            missed = at, built
        at = _choice(board, met_hz, missed_hz, allowed_hz)
    if best is None:
        raise misses_clock(missed[1], missed[0])
    return best


def is_met(at: Board, built: BuildResult) -> bool:
    """Whether what was built runs at the board's clock; that of a PLL must leave `MARGIN`."""
    return built.fmax_mhz * 1e6 * (1 - MARGIN if at.pll else 1) >= at.clock_hz


def _choice(board: Board, above_hz: float, below_hz: float, highest_hz: float) -> Board | None:
    """Return the board at the fastest clock between the two that is not more than the highest."""
    between = [at for at in clock_choices(board) if above_hz < at.clock_hz < below_hz and at.clock_hz <= highest_hz]
    return between[-1] if between else None


def _check_timed(built: BuildResult, board: Board) -> None:
    if built.caveat:
        message = f"which clock is the fastest on {board.title} cannot be told: {built.caveat}"
        raise fail("untimed-design", message, hint="multipliers of LUTs (--no-dsp), or --clock with a number of MHz")
