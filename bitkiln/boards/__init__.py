"""Where a design goes: one file per board, listed here."""

from bitkiln.ir import fail, known_names

from .board import Board, Family, Loader, Resource, Resources
from .icebreaker import ICEBREAKER
from .ulx3s_85f import ULX3S_85F

BOARDS = (
    ICEBREAKER,
    ULX3S_85F,
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
    "ICEBREAKER",
    "ULX3S_85F",
    "Board",
    "Family",
    "Loader",
    "Resource",
    "Resources",
    "find_board",
]
