"""OrangeCrab r0.2 with an LFE5U-25F, 48 MHz; its USB port is the boot loader's, so the serial port is an adapter on
pins 0 and 1.
"""

from .board import Board, Family, Loader, Resources, SerialPins

ORANGECRAB_25F = Board(
    name="orangecrab-25f",
    title="OrangeCrab r0.2 25F (ECP5 LFE5U-25F)",
    family=Family.ECP5,
    device="25k",
    package="CSFBGA285",
    speed="8",
    clock_hz=48_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 24K LUTs, 56 EBR, 28 multipliers;
    # the exact number of LUTs is nextpnr's.
    resources=Resources(lut=24_288, ff=24_288, bram=56, dsp=28),
    platform_class="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_25FPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.DFU_UTIL,),
    loader_name="",
    source="https://orangecrab-fpga.github.io/orangecrab-hardware/docs/reference/",
    serial=SerialPins(rx="N17", tx="M18", attribute="IO_TYPE", level="LVCMOS33"),
)
