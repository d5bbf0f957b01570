"""Radiona ULX3S with a middle ECP5: LFE5U-45F, 25 MHz, USB serial port by an FT231X."""

from .board import Board, Family, Loader, Resources

ULX3S_45F = Board(
    name="ulx3s-45f",
    title="ULX3S-45F (ECP5 LFE5U-45F)",
    family=Family.ECP5,
    device="45k",
    package="CABGA381",
    speed="6",
    clock_hz=25_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 44K LUTs, 108 EBR, 72 multipliers;
    # the exact number of LUTs is nextpnr's.
    resources=Resources(lut=43_848, ff=43_848, bram=108, dsp=72),
    platform_class="amaranth_boards.ulx3s:ULX3S_45F_Platform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER, Loader.FUJPROG),
    loader_name="ulx3s",
    source="https://ulx3s.github.io",
)
