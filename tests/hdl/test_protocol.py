"""Frames as bytes: their exact form, and answers found in whatever the line brings."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest

from bitkiln.hdl.protocol import (
    IDENTITY_BYTES,
    LATENCY_BYTES,
    STATE_AT,
    WEIGHTS_DIGEST_AT,
    Answer,
    Command,
    Identity,
    Status,
    StreamFormat,
    encode_answer,
    encode_request,
    inference_bytes,
    known_commands,
    request_bytes,
    take_answer,
)
from bitkiln.ir import ToolError
from bitkiln.ir.units import Beat

IMAGE = StreamFormat(Beat(lanes=3, bits=5, signed=True), beats=2)
RESULT = StreamFormat(Beat(lanes=1, bits=20, signed=False), beats=4)
IDENTITY = Identity(IMAGE, RESULT, 12_000_000, bytes(range(32)))


def test_the_bytes_of_an_image_on_the_line() -> None:
    request = encode_request(Command.INFER, 7, bytes(IMAGE.total_bytes))
    answer = encode_answer(Status.OK, 7, bytes(LATENCY_BYTES + RESULT.total_bytes))
    assert inference_bytes(IMAGE, RESULT) == len(request) + len(answer)


def test_a_request_byte_by_byte() -> None:
    frame = encode_request(Command.INFER, 7, b"\x01\x02")
    assert frame[:-4].hex(" ") == "42 4b 02 00 07 00 00 00 02 00 00 00 01 02"
    assert frame[-4:] == zlib.crc32(frame[:-4]).to_bytes(4, "little")
    assert encode_request(Command.IDENTIFY, 1).hex(" ") == "42 4b 01 00 01 00 00 00 00 00 00 00 0b 1a 8c 71"


def test_an_identity_byte_by_byte() -> None:
    payload = IDENTITY.encode()
    assert payload.hex(" ", 4) == (
        "02010000 001bb700 03000501 02000000 01001400 04000000 "
        "00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f "
        "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000"
    )
    assert len(payload) == IDENTITY_BYTES
    assert Identity.decode(payload) == IDENTITY


def test_an_identity_says_which_weights_are_loaded() -> None:
    empty = replace(IDENTITY, load_bytes=512, banks=2)
    loaded = replace(empty, bank=1, weights_digest=bytes(range(32, 64)))
    assert (empty.chunks, empty.next_bank, loaded.next_bank) == (2, 1, 0)
    assert Identity.decode(empty.encode()) == empty
    payload = loaded.encode()
    assert Identity.decode(payload) == loaded
    assert (payload[1], payload[STATE_AT], payload[56:60]) == (2, 3, b"\0\2\0\0")
    assert payload[WEIGHTS_DIGEST_AT:] == bytes(range(32, 64))


def test_what_loads_nothing_does_not_know_how() -> None:
    assert known_commands(IDENTITY) == (Command.IDENTIFY, Command.INFER, Command.RESET)
    loading = replace(IDENTITY, load_bytes=256)
    assert known_commands(loading) == tuple(Command)
    assert [request_bytes(command, loading) for command in (Command.LOAD, Command.SWITCH)] == [258, 33]


@pytest.mark.parametrize(("payload", "says"), [(b"", "nothing"), (b"\x01" + bytes(IDENTITY_BYTES - 1), "version 1")])
def test_another_version_is_refused(payload: bytes, says: str) -> None:
    with pytest.raises(ToolError) as caught:
        Identity.decode(payload)
    assert str(caught.value) == (
        f"error[wrong-protocol]: expected a device that speaks protocol version 2, but it says {says}\n"
        "  help: build and flash its design again with this bitkiln"
    )


def test_elements_are_packed_from_the_lowest_bits() -> None:
    # 15 bits a beat in two bytes: -1 is 11111, 1 is 00001, -16 is 10000.
    assert IMAGE.pack([-1, 1, -16, 0, 0, 15]).hex() == "3f40003c"
    assert IMAGE.unpack(bytes.fromhex("3f40003c")) == (-1, 1, -16, 0, 0, 15)
    assert IMAGE.unpack(bytes.fromhex("3fc0003c")) == (-1, 1, -16, 0, 0, 15)
    assert (IMAGE.total_bytes, RESULT.total_bytes, IMAGE.elements) == (4, 12, 6)
    assert request_bytes(Command.INFER, IDENTITY) == 4
    assert request_bytes(Command.RESET, IDENTITY) == 0


@pytest.mark.parametrize("beat", [Beat(1, 1, False), Beat(7, 3, True), Beat(2, 8, True), Beat(5, 33, False)])
def test_packing_is_undone_by_unpacking(beat: Beat) -> None:
    layout = StreamFormat(beat, beats=6)
    low, high = layout.code_range
    codes = tuple(random.randint(low, high) for _ in range(layout.elements))
    assert layout.unpack(layout.pack(codes)) == codes


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([1, 2, 3], "expected 6 elements, not 3"),
        ([0, 0, 16, 0, 0, -17], "codes must be between -16 and 15, not 16"),
    ],
)
def test_an_image_of_another_form_is_refused(codes: list[int], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        IMAGE.pack(codes)
    assert str(caught.value) == f"error[wrong-image]: {message}"


def test_an_answer_is_found_among_noise() -> None:
    frame = encode_answer(Status.OK, 9, b"bkb")
    found = Answer(Status.OK, 9, b"bkb")
    assert take_answer(frame, 3) == (found, b"")
    assert take_answer(b"\x00bbk\xff" + frame + b"rest", 3) == (found, b"rest")
    assert take_answer(encode_request(1, 9) + frame + frame, 3) == (found, frame)


def test_an_unfinished_answer_is_kept() -> None:
    frame = encode_answer(Status.WRONG_CRC, 9)
    for end in range(1, len(frame)):
        assert take_answer(b"noise" + frame[:end], 3) == (None, frame[:end])
    assert take_answer(b"noise", 3) == (None, b"")


@pytest.mark.parametrize("position", range(18))
def test_a_damaged_answer_is_no_answer(position: int) -> None:
    frame = bytearray(encode_answer(Status.OK, 9, b"ab"))
    frame[position] ^= 0x10
    good = encode_answer(Status.OK, 10, b"cd")
    # A wrong length may make it wait for more than the frame: 300 further bytes are more than any answer.
    assert take_answer(bytes(frame) + good + bytes(300), 64)[0] == Answer(Status.OK, 10, b"cd")
