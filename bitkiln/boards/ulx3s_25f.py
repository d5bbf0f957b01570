"""Radiona ULX3S with a small ECP5: LFE5U-25F, 25 MHz, USB serial port by an FT231X."""

from .board import Board, Family, Loader, Resources

ULX3S_25F = Board(
    name="ulx3s-25f",
    title="ULX3S-25F (ECP5 LFE5U-25F)",
    family=Family.ECP5,
    device="25k",
    package="CABGA381",
    speed="6",
    clock_hz=25_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 24K LUTs, 56 EBR, 28 multipliers;
    # the exact number of LUTs is nextpnr's.
    resources=Resources(lut=24_288, ff=24_288, bram=56, dsp=28),
    platform_class="amaranth_boards.ulx3s:ULX3S_25F_Platform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER, Loader.FUJPROG),
    loader_name="ulx3s",
    source="https://ulx3s.github.io",
)
