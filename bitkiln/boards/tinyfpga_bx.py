"""TinyFPGA BX: iCE40 LP8K, 16 MHz.

Its USB port is the boot loader's, so the serial port is an adapter on pins 1 and 2.
"""

from .board import Board, Family, Loader, Resources, SerialPins

TINYFPGA_BX = Board(
    name="tinyfpga-bx",
    title="TinyFPGA BX (iCE40 LP8K)",
    family=Family.ICE40,
    device="lp8k",
    package="cm81",
    speed="",
    clock_hz=16_000_000,
    # Lattice FPGA-DS-02029 (iCE40 LP/HX), table 1.1: 7680 LUT4 + flip-flop, 32 EBR.
    resources=Resources(lut=7680, ff=7680, bram=32),
    platform_class="amaranth_boards.tinyfpga_bx:TinyFPGABXPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.TINYPROG,),
    loader_name="",
    source="https://tinyfpga.com/bx/guide.html",
    serial=SerialPins(rx="A1", tx="A2", attribute="IO_STANDARD", level="SB_LVCMOS"),
)
