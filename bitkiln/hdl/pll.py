"""A design's clock from its chip's PLL: the cell with its parameters, and a reset until it is steady."""

from __future__ import annotations

from typing import Any, assert_never

from amaranth.hdl import ClockDomain, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from bitkiln.boards import Board, Family
from bitkiln.boards.pll import Pll

# iCE40's block RAMs cannot be read in the first microseconds after the start; amaranth's platform waits as long.
START_S = 15e-6
# Lattice FPGA-TN-02052: the filter by the frequency that the phase detector compares.
_FILTER_RANGES = ((17, 1), (26, 2), (44, 3), (66, 4), (101, 5))


class PllClock(Elaboratable):
    """Makes a clock and its reset from the board's; the reset lasts until the PLL has locked, and 15 us more."""

    def __init__(self, board: Board) -> None:
        assert board.pll is not None
        self._board = board
        self._pll = board.pll
        self.clk = Signal()
        self.rst = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        output, locked = self.clk, Signal()
        pin = platform.request(platform.default_clk, dir="-")
        if self._board.has_pll_pad:
            m.submodules.pll = _ice40("SB_PLL40_PAD", self._pll, output, locked, io_PACKAGEPIN=pin.io)
        else:
            m.submodules.buffer = buffer = io.Buffer("i", pin)
            m.submodules.pll = self._cell(buffer.i, output, locked)
        m.domains.start = start = ClockDomain("start", local=True, reset_less=True)
        m.d.comb += start.clk.eq(output)
        self._wait(m, locked)
        return m

    def _wait(self, m: Module, locked: Signal) -> None:
        cycles = round(START_S * self._board.clock_hz)
        left = Signal(range(cycles + 1), init=cycles)
        is_steady, is_over = Signal(), Signal()
        m.submodules.steady = FFSynchronizer(locked, is_steady, o_domain="start")
        m.d.start += is_over.eq(left == 0)
        with m.If(~is_steady):
            m.d.start += left.eq(cycles)
        with m.Elif(left != 0):
            m.d.start += left.eq(left - 1)
        m.d.comb += self.rst.eq(~is_over)

    def _cell(self, clock: Any, output: Signal, locked: Signal) -> Instance:
        match self._board.family:
            case Family.ICE40:
                return _ice40("SB_PLL40_CORE", self._pll, output, locked, i_REFERENCECLK=clock)
            case Family.ECP5:
                return _ecp5(self._pll, clock, output, locked)
            case Family.GOWIN:
                return _gowin(self._pll, self._board, clock, output, locked)
        assert_never(self._board.family)


def _ice40(cell: str, pll: Pll, output: Signal, locked: Signal, **clock: Any) -> Instance:
    reference_mhz = pll.reference_hz / 10**6
    return Instance(
        cell,
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=Const(pll.input_divider - 1, 4),
        p_DIVF=Const(pll.multiplier - 1, 7),
        p_DIVQ=Const(pll.output_divider.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(next((value for below, value in _FILTER_RANGES if reference_mhz < below), 6), 3),
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=output,
        o_LOCK=locked,
        **clock,
    )


def _ecp5(pll: Pll, clock: Any, output: Signal, locked: Signal) -> Instance:
    feedback = Signal()
    return Instance(
        "EHXPLLL",
        # Charge pump and loop filter, as Lattice's own generator and Project Trellis's set them.
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_FEEDBK_PATH="CLKOP",
        p_CLKI_DIV=pll.input_divider,
        p_CLKFB_DIV=1,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=pll.multiplier,
        p_CLKOP_CPHASE=pll.multiplier - 1,
        p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=pll.output_divider,
        p_CLKOS_CPHASE=pll.output_divider - 1,
        p_CLKOS_FPHASE=0,
        i_CLKI=clock,
        i_CLKFB=feedback,
        o_CLKOP=feedback,
        o_CLKOS=output,
        o_LOCK=locked,
        **{f"i_{pin}": Const(0) for pin in ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PLLWAKESYNC")},
        **{f"i_{pin}": Const(0) for pin in ("PHASESTEP", "PHASELOADREG", "ENCLKOP")},
    )


def _gowin(pll: Pll, board: Board, clock: Any, output: Signal, locked: Signal) -> Instance:
    buses = {"FBDSEL": 6, "IDSEL": 6, "ODSEL": 6, "PSDA": 4, "DUTYDA": 4, "FDLY": 4}
    return Instance(
        "rPLL",
        p_FCLKIN=f"{pll.input_hz / 1e6:g}",
        p_DEVICE=board.chip,
        p_IDIV_SEL=pll.input_divider - 1,
        p_FBDIV_SEL=pll.multiplier - 1,
        p_ODIV_SEL=pll.output_divider,
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_DYN_DA_EN="false",
        p_DYN_SDIV_SEL=2,
        p_PSDA_SEL="0000",
        p_DUTYDA_SEL="1000",
        p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false",
        p_CLKOUTP_BYPASS="false",
        p_CLKOUTD_BYPASS="false",
        p_CLKOUTD_SRC="CLKOUT",
        p_CLKOUTD3_SRC="CLKOUT",
        i_CLKIN=clock,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        o_CLKOUT=output,
        o_LOCK=locked,
        **{f"i_{pin}": Const(0, width) for pin, width in buses.items()},
    )
