"""The search for the fastest clock, on answers that the tests give: what is tried, when it ends, what it returns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.boards import ICEBREAKER, ORANGECRAB_85F, TANG_NANO_9K, Board, Resources
from bitkiln.boards.clocks import board_at
from bitkiln.hdl.build import BuildResult
from bitkiln.hdl.fastest_clock import MARGIN, MOST_BUILDS, fastest, is_met
from bitkiln.ir import ToolError


def result(at: Board, fmax_mhz: float, caveat: str = "") -> BuildResult:
    clock_mhz = at.clock_hz / 1e6
    used = Resources(lut=1)
    return BuildResult(b"", "top.bin", b"", b"", used, used, fmax_mhz, clock_mhz, "", (), False, caveat)


def search(board: Board, fmax_mhz: Callable[[float], float]) -> tuple[float, list[float]]:
    """Return the clock that is found if a design with a clock reaches `fmax_mhz` of it, and the clocks tried."""
    tried: list[float] = []

    def build(at: Board) -> BuildResult:
        tried.append(at.clock_hz / 1e6)
        return result(at, fmax_mhz(tried[-1]))

    at, built = fastest(board, build)
    assert built.clock_mhz == at.clock_hz / 1e6
    return built.clock_mhz, tried


def test_a_design_as_fast_with_any_clock_is_built_twice() -> None:
    # 48.5 MHz less 3 % is 47.05: the next clock below is 46.5 MHz.
    assert search(ICEBREAKER, lambda clock: 48.5) == (46.5, [12, 46.5])


def test_a_miss_steps_down() -> None:
    # 46.0 MHz less 3 % is 44.62, 44.9 less 3 % is 43.55.
    answers = {12: 48.5, 46.5: 46.0, 44.25: 44.9, 43.5: 44.9}
    assert search(ICEBREAKER, lambda clock: answers[clock]) == (43.5, [12, 46.5, 44.25, 43.5])


def test_a_better_answer_steps_up() -> None:
    answers = {12: 30.0, 28.875: 40.0, 38.25: 39.6}
    assert search(ICEBREAKER, lambda clock: answers[clock]) == (38.25, [12, 28.875, 38.25])


def test_what_is_slower_than_the_board_gets_a_slower_clock() -> None:
    found, tried = search(ORANGECRAB_85F, lambda clock: 31.0)
    assert tried[0] == 48
    assert 29 < found <= 31 * (1 - MARGIN)


def test_a_design_that_barely_meets_the_boards_clock_keeps_it() -> None:
    assert search(ICEBREAKER, lambda clock: 12.1) == (12, [12])


def test_the_search_ends() -> None:
    found, tried = search(ICEBREAKER, lambda clock: 100.0 if clock == 12 else clock * 0.99)
    assert (found, len(tried)) == (12, MOST_BUILDS)


def test_a_pll_needs_a_margin() -> None:
    assert is_met(ICEBREAKER, result(ICEBREAKER, 12.0))
    at = board_at(ICEBREAKER, 48)
    assert not is_met(at, result(at, 49.4))
    assert is_met(at, result(at, 49.5))


def test_a_design_that_meets_no_clock() -> None:
    with pytest.raises(ToolError) as caught:
        search(ICEBREAKER, lambda clock: 2.0)
    assert str(caught.value).startswith(
        "error[misses-clock]: the design misses its clock on iCEBreaker (iCE40 UP5K): it needs 12 MHz, "
        "but it runs at 2 MHz at most"
    )


def test_a_design_whose_speed_cannot_be_told() -> None:
    with pytest.raises(ToolError) as caught:
        fastest(TANG_NANO_9K, lambda at: result(at, 100.0, "nobody looked"))
    assert str(caught.value) == (
        "error[untimed-design]: which clock is the fastest on Tang Nano 9K (Gowin GW1NR-9) cannot be told: "
        "nobody looked\n"
        "  help: multipliers of LUTs (--no-dsp), or --clock with a number of MHz"
    )
