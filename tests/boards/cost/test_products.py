"""Multiplier blocks as synthesis takes them, by the sizes of the factors and what the board has."""

from __future__ import annotations

import pytest

from bitkiln.boards import find_board
from bitkiln.boards.cost import Bill, dsp_blocks


@pytest.mark.parametrize(
    ("board", "sizes", "blocks"),
    [
        ("icebreaker", (8, 8), 1),
        ("icebreaker", (5, 5), 0),
        ("hx8k-breakout", (8, 8), 0),
        ("ulx3s-85f", (2, 2), 1),
        ("ulx3s-85f", (20, 8), 2),
        ("tang-nano-9k", (8, 8), 1),
        ("tang-nano-9k", (8, 3), 0),
        ("tang-nano-9k", (10, 4), 2),
        ("tang-nano-9k", (19, 19), 2),
        ("tang-nano-9k", (3, 3), 0),
    ],
)
def test_blocks_of_a_product(board: str, sizes: tuple[int, int], blocks: int) -> None:
    assert dsp_blocks(Bill(find_board(board)), *sizes) == blocks
