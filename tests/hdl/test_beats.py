"""Codes as the bytes of a stream, by hand and there and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from bitkiln.hdl.beats import Codes, pack, pack_inputs, pack_outputs, unpack, unpack_outputs
from bitkiln.ir import Plan, Stream
from bitkiln.ir.units import Beat, Resize
from tests.hdl.units.rtl_bench import single_unit_plan


def stream(lanes: int, bits: int, signed: bool) -> Stream:
    return Stream("s", Beat(lanes, bits, signed), 1, 2)


@pytest.mark.parametrize(
    ("lanes", "bits", "signed", "codes", "beats"),
    [
        (1, 8, False, [0, 1, 255], [[0], [1], [255]]),
        (1, 8, True, [-128, -1, 127], [[128], [255], [127]]),
        (2, 4, False, [1, 2, 15, 0], [[0x21], [0x0F]]),
        (3, 3, True, [-1, 0, -4], [[0b00000111, 0b1]]),
        (1, 12, True, [-2, 0x123], [[0xFE, 0x0F], [0x23, 0x01]]),
        (2, 16, False, [0x1234, 0xABCD], [[0x34, 0x12, 0xCD, 0xAB]]),
        (9, 1, False, [1, 0, 0, 0, 0, 0, 0, 1, 1], [[0x81, 0x01]]),
    ],
)
def test_bits_of_a_beat(lanes: int, bits: int, signed: bool, codes: list[int], beats: list[list[int]]) -> None:
    packed = pack(np.array(codes, np.int64), stream(lanes, bits, signed))
    assert packed.dtype == np.uint8
    assert packed.tolist() == beats


@given(st.data(), st.integers(1, 5), st.integers(1, 40), st.booleans(), st.integers(1, 4))
def test_unpack_undoes_pack(data: st.DataObject, lanes: int, bits: int, signed: bool, beats: int) -> None:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    codes = data.draw(st.lists(st.integers(low, high), min_size=lanes * beats, max_size=lanes * beats))
    there = pack(np.array(codes, np.int64), stream(lanes, bits, signed))
    assert there.shape == (beats, -(-lanes * bits // 8))
    assert unpack(there, stream(lanes, bits, signed)).reshape(-1).tolist() == codes


@pytest.fixture
def plan() -> Plan:
    """Four elements in beats of one, out in beats of two; the streams' orders are others than the graph's."""
    plan = single_unit_plan(Resize(4, 1, 2, 4, False), 4, 2, 2, 2)
    return replace(plan, input_order=np.array([2, 0, 3, 1]), output_order=np.array([3, 2, 1, 0]))


def images() -> Codes:
    return np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int64)


def test_inputs_go_in_the_order_of_the_stream(plan: Plan) -> None:
    assert pack_inputs(plan, images()).reshape(-1).tolist() == [3, 1, 4, 2, 7, 5, 8, 6]


def test_outputs_come_in_the_order_of_the_stream(plan: Plan) -> None:
    beats = pack_outputs(plan, images())
    assert beats.reshape(-1).tolist() == [0x34, 0x12, 0x78, 0x56]
    assert unpack_outputs(plan, beats).tolist() == images().tolist()
