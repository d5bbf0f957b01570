"""Boards that only their vendor's tool builds for: data, and the way to their projects."""

from __future__ import annotations

import pytest

from bitkiln.boards import ARTY_A7_35T, BOARDS, KV260, PYNQ_Z2, VENDOR_BOARDS, VendorBoard, find_any_board, find_board
from bitkiln.ir import ToolError


def test_they_are_found_by_their_names() -> None:
    assert [find_any_board(board.name) for board in (*BOARDS, *VENDOR_BOARDS)] == [*BOARDS, *VENDOR_BOARDS]
    names = [board.name for board in (*BOARDS, *VENDOR_BOARDS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("board", VENDOR_BOARDS, ids=lambda board: board.name)
def test_open_tools_do_not_build_for_them(board: VendorBoard) -> None:
    name = board.name
    with pytest.raises(ToolError) as caught:
        find_board(name)
    assert str(caught.value) == (
        f"error[vendor-board]: bitstreams for {board.title} are made by Vivado, which bitkiln does not "
        f"run\n  help: bitkiln generate ip --board {name} writes a project for Vivado"
    )


def test_memory_is_block_ram_ultra_ram_and_luts() -> None:
    assert PYNQ_Z2.memory_bits == 140 * 36 * 1024 + 17_400 * 64
    assert KV260.memory_bits == 144 * 36 * 1024 + 64 * 288 * 1024 + 3_500_000
    assert ARTY_A7_35T.memory_bits == 50 * 36 * 1024 + 400 * 1024
