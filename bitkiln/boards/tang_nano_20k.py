"""Sipeed Tang Nano 20K: Gowin GW2AR-18, 27 MHz, USB serial port by a BL616."""

from .board import Board, Family, Loader, Resources

TANG_NANO_20K = Board(
    name="tang-nano-20k",
    title="Tang Nano 20K (Gowin GW2AR-18)",
    family=Family.GOWIN,
    device="GW2AR-LV18QN88C8/I7",
    package="",
    speed="",
    clock_hz=27_000_000,
    # Gowin DS226 (GW2AR), table 1-1: 20736 LUT4, 15552 flip-flops, 46 BSRAM, 48 multipliers of 18 x 18 or 96 of 9 x 9.
    resources=Resources(lut=20_736, ff=15_552, bram=46, dsp=96),
    platform_class="bitkiln.boards._platforms:TangNano20KPlatform",
    uart=0,
    baud=1_000_000,
    loaders=(Loader.OPENFPGALOADER,),
    loader_name="tangnano20k",
    source="https://wiki.sipeed.com/hardware/en/tang/tang-nano-20k/nano-20k.html",
    chip="GW2A-18C",
)
