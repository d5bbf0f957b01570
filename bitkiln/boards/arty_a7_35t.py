"""Digilent Arty A7-35T: Artix-7, USB serial port by an FT2232HQ. Its projects are generated, not run."""

from .board import Resources
from .vendor_board import SerialTop, VendorBoard

ARTY_A7_35T = VendorBoard(
    name="arty-a7-35t",
    title="Arty A7-35T (Artix-7 XC7A35T)",
    part="xc7a35ticsg324-1L",
    board_part="digilentinc.com:arty-a7-35:part0:1.1",
    clock_hz=100_000_000,
    max_clock_hz=0,
    # AMD DS180 (7 series overview), table 4: 5,200 slices (20,800 LUTs, 41,600 flip-flops), 50 block RAMs of 36 kbit,
    # 90 DSP slices, 400 kbit of distributed RAM.
    resources=Resources(lut=20_800, ff=41_600, bram=50, dsp=90),
    uram=0,
    distributed_bits=400 * 1024,
    # Digilent's master XDC: GCLK100, ck_rst, uart_txd_in (from the PC) and uart_rxd_out (to it).
    host=SerialTop(clock="E3", reset_n="C2", rx="A9", tx="D10", standard="LVCMOS33", baud=1_000_000),
    source="https://digilent.com/reference/programmable-logic/arty-a7/reference-manual",
)
