"""Where a design goes: one file per board, listed here."""

from bitkiln.ir import fail, known_names

from .board import Board, Family, Loader, Resource, Resources
from .colorlight_i5 import COLORLIGHT_I5
from .hx8k_breakout import HX8K_BREAKOUT
from .icebreaker import ICEBREAKER
from .orangecrab_25f import ORANGECRAB_25F
from .orangecrab_85f import ORANGECRAB_85F
from .tang_nano_9k import TANG_NANO_9K
from .tang_nano_20k import TANG_NANO_20K
from .tinyfpga_bx import TINYFPGA_BX
from .ulx3s_12f import ULX3S_12F
from .ulx3s_25f import ULX3S_25F
from .ulx3s_45f import ULX3S_45F
from .ulx3s_85f import ULX3S_85F
from .upduino_3 import UPDUINO_3

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


def find_board(name: str) -> Board:
    """Return the board called `name`. Raises `unknown-board`, which lists the known ones."""
    for board in BOARDS:
        if board.name == name:
            return board
    hint = known_names(name, (board.name for board in BOARDS))
    raise fail("unknown-board", f"there is no board called {name!r}", hint=hint)


__all__ = [
    "BOARDS",
    "COLORLIGHT_I5",
    "HX8K_BREAKOUT",
    "ICEBREAKER",
    "ORANGECRAB_25F",
    "ORANGECRAB_85F",
    "TANG_NANO_9K",
    "TANG_NANO_20K",
    "TINYFPGA_BX",
    "ULX3S_12F",
    "ULX3S_25F",
    "ULX3S_45F",
    "ULX3S_85F",
    "UPDUINO_3",
    "Board",
    "Family",
    "Loader",
    "Resource",
    "Resources",
    "find_board",
]
