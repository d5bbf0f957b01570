"""The clocks that a design can have on a board: the board's own, and those that the chip's PLL makes of it.

A board at another clock is a Board, too: everything that asks a board for its clock gets the design's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import assert_never

from bitkiln.ir import fail

from .baud import has_baud
from .board import Board, Family
from .pll import ECP5, GW1NR_9, GW2AR_18, ICE40, PllLimits

_TOLERANCE_HZ = 50  # of a frequency that a user wrote with a few digits


@cache
def clock_choices(board: Board) -> tuple[Board, ...]:
    """Return the board at each clock that it can have, the slowest first; at each its serial port has its baud rate."""
    assert board.pll is None, f"{board.name} is at another clock already"
    made = [replace(board, clock_hz=round(pll.output_hz), pll=pll) for pll in _limits(board).settings(board.clock_hz)]
    usable = [at for at in made if has_baud(at.clock_hz, board.baud) and at.clock_hz != board.clock_hz]
    return tuple(sorted((board, *usable), key=lambda at: at.clock_hz))


def board_at(board: Board, clock_mhz: float) -> Board:
    """Return the board at this clock. Raises `no-such-clock`, which names the nearest that it can have."""
    choices = clock_choices(board)
    wanted = clock_mhz * 1e6
    nearest = min(choices, key=lambda at: abs(at.clock_hz - wanted))
    if abs(nearest.clock_hz - wanted) <= _TOLERANCE_HZ:
        return nearest
    below = [at for at in choices if at.clock_hz < wanted][-1:]
    above = [at for at in choices if at.clock_hz > wanted][:1]
    names = " and ".join(f"{at.clock_hz / 1e6:.9g}" for at in (*below, *above))
    message = f"{board.title} makes no clock of {clock_mhz:g} MHz from its {board.clock_hz / 1e6:g} MHz"
    raise fail("no-such-clock", message, hint=f"the nearest: {names} MHz; or take the fastest that the design allows")


def _limits(board: Board) -> PllLimits:
    match board.family:
        case Family.ICE40:
            return ICE40
        case Family.ECP5:
            return ECP5
        case Family.GOWIN:
            return GW2AR_18 if board.chip.startswith("GW2A") else GW1NR_9
    assert_never(board.family)
