from __future__ import annotations

import numpy as np
import pytest

from bitkiln.hdl.hls.port import Port
from bitkiln.ir import Stream
from bitkiln.ir.units import Beat


@pytest.mark.parametrize(
    ("beat", "bits", "lanes", "parts"),
    [
        (Beat(1, 8, False), 8, 1, 1),
        (Beat(49, 8, False), 8, 1, 49),
        (Beat(56, 8, False), 64, 8, 7),
        (Beat(3, 5, True), 8, 1, 3),
        (Beat(6, 9, True), 32, 2, 3),
        (Beat(4, 1, False, True), 32, 4, 1),
        (Beat(4, 33, True), 64, 1, 4),
    ],
)
def test_words(beat: Beat, bits: int, lanes: int, parts: int) -> None:
    port = Port.of(Stream("x", beat, 2, 2))
    assert (port.bits, port.lanes, port.parts, port.words) == (bits, lanes, parts, 2 * parts)
    low, high = beat.code_range
    codes = np.random.default_rng(0).choice([low, high], (3, 2 * beat.lanes)).astype(np.int64)
    assert port.unpack(port.pack(codes)).reshape(codes.shape).tolist() == codes.tolist()


def test_elements_lie_as_a_host_stores_them() -> None:
    port = Port.of(Stream("x", Beat(4, 5, True), 1, 2))
    assert port.pack(np.array([[-1, 2, -16, 15]])).tolist() == [[0x0FF002FF]]
