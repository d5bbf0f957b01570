"""Radiona ULX3S with the largest ECP5: LFE5U-85F, 25 MHz, USB serial port by an FT231X."""

from .board import Board, Family, Loader, Resources

ULX3S_85F = Board(
    name="ulx3s-85f",
    title="ULX3S-85F (ECP5 LFE5U-85F)",
    family=Family.ECP5,
    device="85k",
    package="CABGA381",
    speed="6",
    clock_hz=25_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 84K LUTs, 208 EBR of 18 kbit, 156 multipliers of 18 x 18. The
    # exact number of LUTs and flip-flops, 83640, is the one that nextpnr counts in Project Trellis's
    # database.
    resources=Resources(lut=83_640, ff=83_640, bram=208, dsp=156),
    platform_class="amaranth_boards.ulx3s:ULX3S_85F_Platform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER, Loader.FUJPROG),
    loader_name="ulx3s",
    source="https://ulx3s.github.io",
)
