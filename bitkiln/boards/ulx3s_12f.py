"""Radiona ULX3S with the smallest ECP5: LFE5U-12F, 25 MHz, USB serial port by an FT231X."""

from .board import Board, Family, Loader, Resources

ULX3S_12F = Board(
    name="ulx3s-12f",
    title="ULX3S-12F (ECP5 LFE5U-12F)",
    family=Family.ECP5,
    device="12k",
    package="CABGA381",
    speed="6",
    clock_hz=25_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 12K LUTs, 32 EBR, 28 multipliers.
    # nextpnr takes it for the 25F, whose die it is; what Lattice does not promise is not counted.
    resources=Resources(lut=12_000, ff=12_000, bram=32, dsp=28),
    platform_class="amaranth_boards.ulx3s:ULX3S_12F_Platform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER, Loader.FUJPROG),
    loader_name="ulx3s",
    source="https://ulx3s.github.io",
)
