"""Where a design goes: one file per board, listed here."""

from bitkiln.ir import fail, known_names

from .arty_a7_35t import ARTY_A7_35T
from .board import Board, Family, Loader, Resource, Resources
from .colorlight_i5 import COLORLIGHT_I5
from .hx8k_breakout import HX8K_BREAKOUT
from .icebreaker import ICEBREAKER
from .kv260 import KV260
from .orangecrab_25f import ORANGECRAB_25F
from .orangecrab_85f import ORANGECRAB_85F
from .pynq_z2 import PYNQ_Z2
from .tang_nano_9k import TANG_NANO_9K
from .tang_nano_20k import TANG_NANO_20K
from .tinyfpga_bx import TINYFPGA_BX
from .ulx3s_12f import ULX3S_12F
from .ulx3s_25f import ULX3S_25F
from .ulx3s_45f import ULX3S_45F
from .ulx3s_85f import ULX3S_85F
from .upduino_3 import UPDUINO_3
from .vendor_board import ProcessorSystem, SerialTop, VendorBoard

BOARDS = (
    ICEBREAKER,
    UPDUINO_3,
    HX8K_BREAKOUT,
    TINYFPGA_BX,
    ULX3S_12F,
    ULX3S_25F,
    ULX3S_45F,
    ULX3S_85F,
    ORANGECRAB_25F,
    ORANGECRAB_85F,
    COLORLIGHT_I5,
    TANG_NANO_9K,
    TANG_NANO_20K,
)


VENDOR_BOARDS = (PYNQ_Z2, KV260, ARTY_A7_35T)


def find_board(name: str) -> Board:
    """Return the board called `name`, which open tools build for.

    Raises `unknown-board`, which lists the known ones, and `vendor-board` for one that needs its vendor's tool.
    """
    found = find_any_board(name)
    if isinstance(found, VendorBoard):
        message = f"bitstreams for {found.title} are made by Vivado, which bitkiln does not run"
        raise fail("vendor-board", message, hint=f"bitkiln generate ip --board {name} writes a project for Vivado")
    return found


def find_any_board(name: str) -> Board | VendorBoard:
    """Return the board called `name`. Raises `unknown-board`, which lists the known ones."""
    boards = (*BOARDS, *VENDOR_BOARDS)
    for board in boards:
        if board.name == name:
            return board
    raise fail("unknown-board", f"there is no board called {name!r}", hint=known_names(name, (b.name for b in boards)))


__all__ = [
    "ARTY_A7_35T",
    "BOARDS",
    "COLORLIGHT_I5",
    "HX8K_BREAKOUT",
    "ICEBREAKER",
    "KV260",
    "ORANGECRAB_25F",
    "ORANGECRAB_85F",
    "PYNQ_Z2",
    "TANG_NANO_9K",
    "TANG_NANO_20K",
    "TINYFPGA_BX",
    "ULX3S_12F",
    "ULX3S_25F",
    "ULX3S_45F",
    "ULX3S_85F",
    "UPDUINO_3",
    "VENDOR_BOARDS",
    "Board",
    "Family",
    "Loader",
    "ProcessorSystem",
    "Resource",
    "Resources",
    "SerialTop",
    "VendorBoard",
    "find_any_board",
    "find_board",
]
