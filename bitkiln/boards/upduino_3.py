"""UPduino 3: iCE40 UltraPlus 5K, 12 MHz with the OSC jumper closed; the serial port is an adapter on pins 28 and 38.

The chip's own oscillator is off by up to 10 %, too much for a serial port.
"""

from .board import Board, Family, Loader, Resources, SerialPins

UPDUINO_3 = Board(
    name="upduino-3",
    title="UPduino 3 (iCE40 UP5K)",
    family=Family.ICE40,
    device="up5k",
    package="sg48",
    speed="",
    clock_hz=12_000_000,
    # Lattice FPGA-DS-02008 (iCE40 UltraPlus), table 2.1: 5280 LUT4 + flip-flop, 30 EBR, 8 MAC16, 4 SPRAM.
    resources=Resources(lut=5280, ff=5280, bram=30, dsp=8, spram=4),
    platform_class="amaranth_boards.upduino_v3:UpduinoV3Platform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.ICEPROG,),
    loader_name="",
    source="https://upduino.readthedocs.io",
    serial=SerialPins(rx="28", tx="38", attribute="IO_STANDARD", level="SB_LVCMOS"),
    clock="clk12",
)
