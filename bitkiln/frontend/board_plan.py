"""What a board says about a Plan, as far as the user does not."""

from __future__ import annotations

from bitkiln.boards import Board, VendorBoard
from bitkiln.boards.cost import has_model


def board_plan(board: Board | VendorBoard) -> dict[str, object]:
    """Return the values of `PlanOptions` that follow from the board, as a project file would give them."""
    block = board.dsp_block if isinstance(board, Board) else None
    return {
        "clock_mhz": board.clock_hz / 1e6,
        "dsp": board.resources.dsp,
        **({"dsp_block": block.value} if block else {}),
        **({"board": board.name} if isinstance(board, Board) and has_model(board.family) else {}),
    }
