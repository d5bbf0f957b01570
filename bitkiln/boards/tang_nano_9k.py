"""Sipeed Tang Nano 9K: Gowin GW1NR-9, 27 MHz, USB serial port by a BL702."""

from .board import Board, Family, Loader, Resources

TANG_NANO_9K = Board(
    name="tang-nano-9k",
    title="Tang Nano 9K (Gowin GW1NR-9)",
    family=Family.GOWIN,
    device="GW1NR-LV9QN88PC6/I5",
    package="",
    speed="",
    clock_hz=27_000_000,
    # Gowin DS117 (GW1NR), table 1-1: 8640 LUT4, 6480 flip-flops, 26 BSRAM, 20 multipliers of 18 x 18 or 40 of 9 x 9.
    resources=Resources(lut=8640, ff=6480, bram=26, dsp=40),
    platform_class="amaranth_boards.tang_nano_9k:TangNano9kPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER,),
    loader_name="tangnano9k",
    source="https://wiki.sipeed.com/hardware/en/tang/Tang-Nano-9K/Nano-9K.html",
    chip="GW1N-9C",
)
