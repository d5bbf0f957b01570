"""Phase-locked loops: which clocks a chip can make of its board's, and with which dividers.

The input is divided, the oscillator (VCO) runs at a multiple of that, and its output is divided again. In some chips
the last divider stands inside the loop: then it sets the oscillator's frequency and not the output's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product


@dataclass(frozen=True)
class Pll:
    """One setting.

    >>> Pll(12_000_000, input_divider=1, multiplier=64, output_divider=16).output_hz
    Fraction(48000000, 1)
    """

    input_hz: int
    input_divider: int
    multiplier: int
    output_divider: int
    is_divider_in_loop: bool = False

    @property
    def reference_hz(self) -> Fraction:
        """What the phase detector compares."""
        return Fraction(self.input_hz, self.input_divider)

    @property
    def vco_hz(self) -> Fraction:
        return self.reference_hz * self.multiplier * (self.output_divider if self.is_divider_in_loop else 1)

    @property
    def output_hz(self) -> Fraction:
        return self.vco_hz / self.output_divider


@dataclass(frozen=True)
class PllLimits:
    """What a chip's PLL allows: the lowest and the highest frequencies, both included, and the dividers' values."""

    input_mhz: tuple[float, float]
    reference_mhz: tuple[float, float]
    vco_mhz: tuple[float, float]
    output_mhz: tuple[float, float]
    input_dividers: range
    multipliers: range
    output_dividers: tuple[int, ...]
    is_divider_in_loop: bool = False

    def settings(self, input_hz: int) -> tuple[Pll, ...]:
        """Return one setting for each output, the slowest first: of several the one with the fastest reference.

        A fast reference corrects often, and a fast oscillator jitters less.
        """
        best: dict[int, Pll] = {}
        for setting in self._all(input_hz):
            key = round(setting.output_hz)
            if key not in best or _rank(setting) > _rank(best[key]):
                best[key] = setting
        return tuple(best[key] for key in sorted(best))

    def _all(self, input_hz: int) -> Iterator[Pll]:
        if not _is_in(input_hz, 1, self.input_mhz):
            return
        dividers = [divider for divider in self.input_dividers if _is_in(input_hz, divider, self.reference_mhz)]
        for divider, multiplier, last in product(dividers, self.multipliers, self.output_dividers):
            in_loop, after = (last, 1) if self.is_divider_in_loop else (1, last)
            multiple_hz = input_hz * multiplier
            is_possible = _is_in(multiple_hz * in_loop, divider, self.vco_mhz)
            if is_possible and _is_in(multiple_hz, divider * after, self.output_mhz):
                yield Pll(input_hz, divider, multiplier, last, self.is_divider_in_loop)


def _is_in(hz: int, divider: int, limits_mhz: tuple[float, float]) -> bool:
    """Whether hz / divider is; in whole numbers, since there are tens of thousands of settings to look at."""
    low, high = limits_mhz
    return low * 10**6 * divider <= hz <= high * 10**6 * divider


def _rank(setting: Pll) -> tuple[Fraction, Fraction]:
    return setting.reference_hz, setting.vco_hz


# Lattice FPGA-DS-02029 (iCE40 LP/HX) and FPGA-DS-02008 (UltraPlus), "sysCLOCK PLL Timing"; the dividers are those of
# FPGA-TN-02052 with the feedback path SIMPLE: DIVR 0-15, DIVF 0-127, DIVQ 1-6. Project IceStorm's icepll has the same.
ICE40 = PllLimits(
    input_mhz=(10, 133),
    reference_mhz=(10, 133),
    vco_mhz=(533, 1066),
    output_mhz=(16, 275),
    input_dividers=range(1, 17),
    multipliers=range(1, 129),
    output_dividers=(2, 4, 8, 16, 32, 64),
)
# Lattice FPGA-DS-02012 (ECP5), "sysCLOCK PLL Timing"; the dividers are those of FPGA-TN-02200. Project Trellis' ecppll
# has the same but for the lowest reference and output, 10 and 3.125 MHz, which it takes the other way round. The
# feedback comes from an output of its own (CLKOP), whose divider is the multiplier; the used one (CLKOS) is free.
ECP5 = PllLimits(
    input_mhz=(8, 400),
    reference_mhz=(10, 400),
    vco_mhz=(400, 800),
    output_mhz=(3.125, 400),
    input_dividers=range(1, 129),
    multipliers=range(1, 129),
    output_dividers=tuple(range(1, 129)),
)
_GOWIN_DIVIDERS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
# Gowin DS117 (GW1NR-9, speed C6/I5) and DS226 (GW2AR-18, C8/I7), "PLL Switching Characteristics"; the dividers are
# those of UG286: IDIV_SEL and FBDIV_SEL 0-63, and ODIV_SEL. Project Apicula's gowin_pll has the same.
GW1NR_9 = PllLimits(
    input_mhz=(3, 400),
    reference_mhz=(3, 400),
    vco_mhz=(400, 1200),
    output_mhz=(3.125, 600),
    input_dividers=range(1, 65),
    multipliers=range(1, 65),
    output_dividers=_GOWIN_DIVIDERS,
    is_divider_in_loop=True,
)
GW2AR_18 = PllLimits(
    input_mhz=(3, 500),
    reference_mhz=(3, 500),
    vco_mhz=(500, 1250),
    output_mhz=(3.90625, 625),
    input_dividers=range(1, 65),
    multipliers=range(1, 65),
    output_dividers=_GOWIN_DIVIDERS,
    is_divider_in_loop=True,
)
