"""ColorLight i5 v7.0 on its extension board: LFE5U-25F, 25 MHz, USB serial port by the board's DAPLink."""

from .board import Board, Family, Loader, Resources

COLORLIGHT_I5 = Board(
    name="colorlight-i5",
    title="ColorLight i5 v7.0 (ECP5 LFE5U-25F)",
    family=Family.ECP5,
    device="25k",
    package="CABGA381",
    speed="6",
    clock_hz=25_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 24K LUTs, 56 EBR, 28 multipliers;
    # the exact number of LUTs is nextpnr's.
    resources=Resources(lut=24_288, ff=24_288, bram=56, dsp=28),
    platform_class="bitkiln.boards._platforms:ColorlightI5Platform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER,),
    loader_name="colorlight-i5",
    source="https://github.com/wuxx/Colorlight-FPGA-Projects",
)
