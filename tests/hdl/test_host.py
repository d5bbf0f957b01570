"""The host program against a device that is played from a script: what it retries, and what it reports."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import pytest

from bitkiln.hdl.host import LAST_TAG, Device, Inference
from bitkiln.hdl.protocol import Command, Identity, Status, StreamFormat, encode_answer
from bitkiln.ir import ToolError
from bitkiln.ir.units import Beat

BYTES = StreamFormat(Beat(lanes=1, bits=8, signed=False), beats=2)
IDENTITY = Identity(BYTES, BYTES, 12_000_000, bytes(32))
GOOD = (9).to_bytes(4, "little") + b"\x05\x06"

Reply = Callable[[int], bytes]


def good(tag: int) -> bytes:
    return encode_answer(Status.OK, tag, GOOD)


def late(tag: int) -> bytes:
    """The answer to another request, then this one's."""
    return encode_answer(Status.OK, tag % LAST_TAG + 2, bytes(6)) + good(tag)


def cut(tag: int) -> bytes:
    return good(tag)[:-3]


def noisy(tag: int) -> bytes:
    return b"\x00\xffbk" + good(tag)


def silent(tag: int) -> bytes:
    return b""


def too_short(tag: int) -> bytes:
    return encode_answer(Status.OK, tag, GOOD[:-1])


def says(status: Status) -> Reply:
    return lambda tag: encode_answer(status, tag)


def not_understood(tag: int) -> bytes:
    return encode_answer(Status.NOISE, 0)


def tag_of(request: bytes) -> int:
    return int.from_bytes(request[4:8], "little")


class Script:
    """Identifies itself, then answers each request with the next reply, in pieces of `piece` bytes."""

    def __init__(self, replies: Sequence[Reply], piece: int = 3) -> None:
        self.requests: list[bytes] = []
        self._replies = list(replies)
        self._piece = piece
        self._outgoing = b""

    def write(self, data: bytes, /) -> None:
        self.requests.append(data)
        if data[2] == Command.IDENTIFY:
            self._outgoing += encode_answer(Status.OK, tag_of(data), IDENTITY.encode())
        else:
            self._outgoing += self._replies.pop(0)(tag_of(data))

    def read(self, size: int, /) -> bytes:
        size = min(size, self._piece)
        came, self._outgoing = self._outgoing[:size], self._outgoing[size:]
        return came


def device(*replies: Reply) -> Device:
    return Device(Script(replies), timeout_s=0)


@pytest.mark.parametrize(
    "replies",
    [
        (good,),
        (late,),
        (noisy,),
        (silent, good),
        (cut, good),
        (not_understood, good),
        (says(Status.WRONG_CRC), good),
        (says(Status.TIMED_OUT), says(Status.OVERRUN), good),
    ],
)
def test_a_damaged_exchange_is_repeated(replies: Sequence[Reply]) -> None:
    script = Script(replies)
    assert Device(script, timeout_s=0).infer([1, 2]) == Inference((5, 6), 9)
    sent = script.requests[1:]
    assert len(sent) == len(replies)
    assert all(request[:3] == b"BK\x02" and request[12:14] == b"\x01\x02" for request in sent)
    assert len({tag_of(request) for request in sent}) == len(sent), "each attempt has a tag of its own"


def test_the_design_is_asked_for_once() -> None:
    script = Script([good, good])
    host = Device(script, timeout_s=0)
    host.infer([1, 2])
    host.infer([3, 4])
    assert [request[2] for request in script.requests] == [Command.IDENTIFY, Command.INFER, Command.INFER]


def test_tags_follow_each_other_and_begin_again_behind_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda below: below - 2)
    script = Script([good] * 3)
    host = Device(script, timeout_s=0)
    for _ in range(3):
        host.infer([1, 2])
    assert [tag_of(request) for request in script.requests] == [LAST_TAG - 1, LAST_TAG, 1, 2]


def test_two_programs_begin_with_different_tags() -> None:
    scripts = [Script([]) for _ in range(20)]
    for script in scripts:
        Device(script, timeout_s=0).identify()
    assert len({tag_of(script.requests[0]) for script in scripts}) == 20


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        (
            (silent, silent, silent),
            "error[no-answer]: the device did not answer INFER within 0 s\n"
            "  help: check the port, its baud rate, and that the board is flashed",
        ),
        (
            (silent, says(Status.WRONG_CRC), not_understood),
            "error[link-failed]: INFER failed 3 times; the device said nothing, WRONG_CRC, NOISE\n"
            "  help: check the cable and the baud rate",
        ),
        (
            (says(Status.STUCK),),
            "error[device-stuck]: the accelerator took the image but did not finish, so the device reset it\n"
            "  help: check that this design passed `bitkiln verify`",
        ),
        ((too_short,), "error[link-failed]: expected a result of 6 bytes, not 5"),
    ],
)
def test_a_failure_says_what_the_device_said(replies: Sequence[Reply], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        device(*replies).infer([1, 2])
    assert str(caught.value) == message


def test_an_image_of_another_form_is_not_sent() -> None:
    script = Script([])
    with pytest.raises(ToolError) as caught:
        Device(script, timeout_s=0).infer([1, 2, 3])
    assert str(caught.value) == "error[wrong-image]: expected 2 elements, not 3"
    assert len(script.requests) == 1
