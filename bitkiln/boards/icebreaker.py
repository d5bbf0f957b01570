"""1BitSquared iCEBreaker: iCE40 UltraPlus 5K, 12 MHz, USB serial port by an FT2232H."""

from .board import Board, Family, Loader, Resources

ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker (iCE40 UP5K)",
    family=Family.ICE40,
    device="up5k",
    package="sg48",
    speed="",
    clock_hz=12_000_000,
    # Lattice FPGA-DS-02008 (iCE40 UltraPlus), table 2.1: 5280 LUT4 + flip-flop, 30 EBR, 8 MAC16, 4 SPRAM.
    resources=Resources(lut=5280, ff=5280, bram=30, dsp=8, spram=4),
    platform_class="amaranth_boards.icebreaker:ICEBreakerPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER, Loader.ICEPROG),
    loader_name="ice40_generic",
    source="https://docs.icebreaker-fpga.org",
    has_pll_pad=True,
)
