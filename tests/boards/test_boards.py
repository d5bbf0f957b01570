"""Every board: its data agree with amaranth's platform, and a design is elaborated for it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from bitkiln.boards import BOARDS, ICEBREAKER, ULX3S_85F, VENDOR_BOARDS, Board, Family, Resource, Resources, find_board
from bitkiln.ir import ToolError

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def test_a_board_is_found_by_its_name() -> None:
    assert find_board("icebreaker") is ICEBREAKER
    assert find_board("ulx3s-85f") is ULX3S_85F


def test_an_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(ToolError) as caught:
        find_board("icebraker")
    names = ", ".join(sorted(board.name for board in (*BOARDS, *VENDOR_BOARDS)))
    assert str(caught.value) == (
        f"error[unknown-board]: there is no board called 'icebraker'\n  help: did you mean icebreaker? Known: {names}"
    )


def test_names_are_unique() -> None:
    assert len({board.name for board in BOARDS}) == len(BOARDS)


def test_listing_boards_loads_no_hardware_package() -> None:
    check = "import sys, bitkiln.boards; print([name for name in sys.modules if name.startswith('amaranth')])"
    done = subprocess.run((sys.executable, "-c", check), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_resources_are_compared_kind_by_kind() -> None:
    assert Resources(lut=5280, dsp=8).fits(ICEBREAKER.resources)
    too_many = Resources(lut=5281, ff=5280, bram=31, dsp=8)
    assert not too_many.fits(ICEBREAKER.resources)
    assert too_many.missing(ICEBREAKER.resources) == (Resource.LUT, Resource.BRAM)
    assert too_many[Resource.BRAM] == 31


@pytest.mark.tools("amaranth_boards")
@each_board
def test_the_data_agree_with_the_platform(board: Board) -> None:
    platform = board.platform()
    assert platform.default_clk_frequency == board.clock_hz
    assert {"rx", "tx"} <= {pin.name for pin in platform.lookup("uart", board.uart).ios if hasattr(pin, "name")}


@pytest.mark.tools("amaranth_boards")
@each_board
def test_each_board_is_elaborated(board: Board) -> None:
    # Imported here: a machine without amaranth runs the other tests of this file.
    from bitkiln.hdl.board_top import CONSTRAINTS, board_bundle  # noqa: PLC0415
    from tests.hdl.byte_adder import ByteAdder, adder_identity  # noqa: PLC0415

    identity = adder_identity(8, board.clock_hz)
    bundle = board_bundle(ByteAdder(8), identity, board)
    assert bundle.paths == tuple(sorted(("top.il", CONSTRAINTS[board.family])))
    constraints = bundle[CONSTRAINTS[board.family]].decode()
    assert f"uart_{board.uart}__rx__io" in constraints
    assert f"uart_{board.uart}__tx__io" in constraints
    # No path and no date: the same design has the same bytes on every machine.
    assert board_bundle(ByteAdder(8), identity, board) == bundle
    assert b"attribute \\src" not in bundle["top.il"]


@pytest.mark.tools("amaranth_boards")
@each_board
def test_nextpnr_gets_the_device_that_amaranth_gives_it(board: Board) -> None:
    from amaranth.hdl import Module  # noqa: PLC0415

    plan = board.platform().prepare(Module(), "top")
    lines = plan.files["build_top.sh"].splitlines()
    command = next(line for line in lines if line.startswith('"$NEXTPNR'))
    words = [word.lower() for word in shlex.split(command)]
    if board.family is Family.GOWIN:  # amaranth calls the nextpnr before this one, with other options
        assert words[words.index("--device") + 1] == board.device.lower()
        assert words[words.index("--family") + 1] == board.chip.lower()
        return
    given = [word.lower() for word in board.nextpnr_arguments]
    start = words.index(given[0])
    assert words[start : start + len(given)] == given
