"""How many clock cycles a bit on a serial line takes, and which clocks can make a baud rate."""

from __future__ import annotations

from bitkiln.ir import fail

LEAST_CYCLES_PER_BIT = 4
# The receiver samples the stop bit 9.5 bit times after the start bit's edge; both sides may be off.
LARGEST_BAUD_ERROR = 0.02


def has_baud(clock_hz: int, baud: int) -> bool:
    """Whether a clock makes `baud` within 2 %, with at least four cycles a bit."""
    cycles = _nearest(clock_hz, baud)
    return cycles >= LEAST_CYCLES_PER_BIT and _error(clock_hz, baud, cycles) <= LARGEST_BAUD_ERROR


def cycles_per_bit(clock_hz: int, baud: int) -> int:
    """Return the clock cycles in a bit. Raises `wrong-baud` if the clock cannot make `baud` within 2 %."""
    cycles = _nearest(clock_hz, baud)
    if not has_baud(clock_hz, baud):
        fastest = clock_hz // LEAST_CYCLES_PER_BIT
        error = _error(clock_hz, baud, cycles)
        message = (
            f"a clock of {clock_hz} Hz cannot make {baud} baud: a bit would be {cycles} cycles and {error:.1%} off, "
            f"but it must be at least {LEAST_CYCLES_PER_BIT} cycles and at most {LARGEST_BAUD_ERROR:.0%} off"
        )
        raise fail("wrong-baud", message, hint=f"choose a whole part of the clock, at most {fastest} baud")
    return cycles


def _nearest(clock_hz: int, baud: int) -> int:
    return max(1, round(clock_hz / baud))


def _error(clock_hz: int, baud: int, cycles: int) -> float:
    return abs(clock_hz / cycles - baud) / baud
