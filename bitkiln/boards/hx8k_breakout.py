"""Lattice iCE40-HX8K breakout board: 12 MHz, USB serial port by an FT2232H."""

from .board import Board, Family, Loader, Resources

HX8K_BREAKOUT = Board(
    name="hx8k-breakout",
    title="iCE40-HX8K breakout board",
    family=Family.ICE40,
    device="hx8k",
    package="ct256",
    speed="",
    clock_hz=12_000_000,
    # Lattice FPGA-DS-02029 (iCE40 LP/HX), table 1.1: 7680 LUT4 + flip-flop, 32 EBR.
    resources=Resources(lut=7680, ff=7680, bram=32),
    platform_class="amaranth_boards.ice40_hx8k_b_evn:ICE40HX8KBEVNPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.ICEPROG,),
    loader_name="",
    source="https://www.latticesemi.com/Products/DevelopmentBoardsAndKits/iCE40HX8KBreakoutBoard.aspx",
)
