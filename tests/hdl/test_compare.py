from __future__ import annotations

import numpy as np

from bitkiln.hdl.compare import Mismatches, WrongBeat, WrongCycle, compare
from bitkiln.hdl.trace import Trace

OUTPUTS = np.array([[1, 2], [3, 4], [5, 6]], np.uint8)
OUTPUT_CYCLES = np.array([4, 5, 9])
TRACE = Trace(OUTPUTS, np.arange(6), OUTPUT_CYCLES, 10)


def test_equal_trace_matches() -> None:
    found = compare(TRACE, OUTPUTS, OUTPUT_CYCLES)
    assert found == Mismatches(3, 0, 0, None, None)
    assert found.is_match
    assert str(found) == "3 output beats: 0 wrong, 0 in the wrong cycle"


def test_first_wrong_beat_is_located() -> None:
    expected = OUTPUTS ^ np.array([[0, 0], [0, 0x81], [1, 0]], np.uint8)
    found = compare(TRACE, expected, OUTPUT_CYCLES)
    assert found == Mismatches(3, 2, 0, WrongBeat(1, b"\x03\x85", b"\x03\x04"), None)
    assert not found.is_match
    assert str(found) == (
        "3 output beats: 2 wrong, 0 in the wrong cycle\n"
        "  output beat 1 is 0x0403, expected 0x8503 (2 bits differ, the lowest is bit 8)"
    )


def test_first_wrong_cycle_is_located() -> None:
    found = compare(TRACE, OUTPUTS, np.array([4, 5, 8]))
    assert found == Mismatches(3, 0, 1, None, WrongCycle(2, 8, 9))
    assert not found.is_match
    assert str(found) == (
        "3 output beats: 0 wrong, 1 in the wrong cycle\n  output beat 2 came in cycle 9, expected in cycle 8"
    )


def test_cycles_are_not_compared_without_an_expectation() -> None:
    assert compare(TRACE, OUTPUTS).is_match
