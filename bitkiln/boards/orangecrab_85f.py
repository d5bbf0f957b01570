"""OrangeCrab r0.2 with an LFE5U-85F, 48 MHz; its USB port is the boot loader's, so the serial port is an adapter on
pins 0 and 1.
"""

from .board import Board, Family, Loader, Resources, SerialPins

ORANGECRAB_85F = Board(
    name="orangecrab-85f",
    title="OrangeCrab r0.2 85F (ECP5 LFE5U-85F)",
    family=Family.ECP5,
    device="85k",
    package="CSFBGA285",
    speed="8",
    clock_hz=48_000_000,
    # Lattice FPGA-DS-02012 (ECP5), table 1.1: 84K LUTs, 208 EBR, 156 multipliers;
    # the exact number of LUTs is nextpnr's.
    resources=Resources(lut=83_640, ff=83_640, bram=208, dsp=156),
    platform_class="amaranth_boards.orangecrab_r0_2:OrangeCrabR0_2_85FPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.DFU_UTIL,),
    loader_name="",
    source="https://orangecrab-fpga.github.io/orangecrab-hardware/docs/reference/",
    serial=SerialPins(rx="N17", tx="M18", attribute="IO_TYPE", level="LVCMOS33"),
)
