"""The host link in hardware: good frames, broken ones of every kind, and what comes between."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("amaranth", reason="the Python package amaranth is not installed")

from bitkiln.hdl.host import Device, Inference
from bitkiln.hdl.protocol import (
    Answer,
    Command,
    Identity,
    Status,
    encode_answer,
    encode_request,
    take_answer,
)
from bitkiln.ir import ToolError
from tests.hdl.byte_adder import ByteAdder, adder_identity, adder_latency_cycles
from tests.hdl.simulated_device import CLOCK_HZ, QUIET_CYCLES, SimulatedDevice, WiredDevice

BEATS = 8
IMAGE = bytes(range(100, 100 + BEATS))
SUM = sum(IMAGE)
IDENTITY = adder_identity(BEATS, CLOCK_HZ)
LONGEST = 100


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice(ByteAdder(BEATS), IDENTITY)


def answers(device: SimulatedDevice, request: bytes) -> list[Answer]:
    """Send bytes and return all answers until the device is silent; it says nothing but answers."""
    device.write(request)
    received = b""
    while came := device.read(1000):
        received += came
    found = []
    while received:
        answer, rest = take_answer(received, LONGEST)
        assert answer is not None, f"{received.hex()} is no answer"
        assert encode_answer(answer.status, answer.tag, answer.payload) + rest == received
        found.append(answer)
        received = rest
    return found


def ask(device: SimulatedDevice, request: bytes) -> Answer:
    """Send bytes that have exactly one answer, and return it."""
    (answer,) = answers(device, request)
    return answer


def infer(tag: int, image: bytes = IMAGE) -> bytes:
    return encode_request(Command.INFER, tag, image)


def result(image: bytes) -> bytes:
    """The payload of a good answer: latency, which a device that is never held up always has, and sum."""
    return adder_latency_cycles(BEATS).to_bytes(4, "little") + sum(image).to_bytes(2, "little")


def assert_is_ready(device: SimulatedDevice) -> None:
    fed = device.fed
    assert ask(device, infer(0x12345677)) == Answer(Status.OK, 0x12345677, result(IMAGE))
    assert device.fed == fed + BEATS


def test_each_command_is_answered(device: SimulatedDevice) -> None:
    answer = ask(device, encode_request(Command.IDENTIFY, 1))
    assert answer == Answer(Status.OK, 1, IDENTITY.encode())
    assert Identity.decode(answer.payload) == IDENTITY
    assert ask(device, infer(2)) == Answer(Status.OK, 2, result(IMAGE))
    assert ask(device, encode_request(Command.RESET, 3)) == Answer(Status.OK, 3, b"")
    assert ask(device, infer(4, bytes(BEATS))) == Answer(Status.OK, 4, result(bytes(BEATS)))


BROKEN = {
    "noise": (b"\x00", Status.NOISE, 0),
    "an answer, echoed": (b"bk" + bytes(10), Status.NOISE, 0),
    "half the magic": (b"BX" + bytes(10), Status.NOISE, 0),
    "noise and then a request": (b"\xff" + infer(9), Status.NOISE, 0),
    "unknown command": (encode_request(9, 5), Status.UNKNOWN_COMMAND, 5),
    "command 0": (encode_request(0, 5), Status.UNKNOWN_COMMAND, 5),
    "too short": (infer(6, IMAGE[:-1]), Status.WRONG_LENGTH, 6),
    "too long": (infer(6, IMAGE + b"\0"), Status.WRONG_LENGTH, 6),
    "far too long": (b"BK\x02\x00\x06\x00\x00\x00\x08\x00\x00\x01" + IMAGE, Status.WRONG_LENGTH, 6),
    "payload without need": (encode_request(Command.RESET, 6, IMAGE), Status.WRONG_LENGTH, 6),
    "too long, with a request inside": (infer(6, infer(9)), Status.WRONG_LENGTH, 6),
    "wrong CRC": (infer(7)[:-1] + b"\x00", Status.WRONG_CRC, 7),
    "changed payload": (infer(7)[:13] + b"\x00" + infer(7)[14:], Status.WRONG_CRC, 7),
    "no payload": (infer(8)[:12], Status.TIMED_OUT, 8),
    "no CRC": (infer(8)[:-4], Status.TIMED_OUT, 8),
    "one byte missing": (infer(8)[:-1], Status.TIMED_OUT, 8),
    "only a magic byte": (b"B", Status.TIMED_OUT, 0),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_frame_is_answered_and_never_fed(device: SimulatedDevice, kind: str) -> None:
    request, status, tag = BROKEN[kind]
    assert ask(device, request) == Answer(status, tag, b"")
    assert device.fed == 0
    assert_is_ready(device)


def test_a_pause_within_a_frame_is_allowed(device: SimulatedDevice) -> None:
    request = infer(5)
    for byte in request[:-1]:
        device.write(bytes([byte]))
        device.pause(QUIET_CYCLES - 5)
    assert ask(device, request[-1:]) == Answer(Status.OK, 5, result(IMAGE))


def test_a_request_before_the_answer_is_dropped_and_reported(device: SimulatedDevice) -> None:
    said = answers(device, infer(5) + infer(6))
    assert said == [Answer(Status.OK, 5, result(IMAGE)), Answer(Status.OVERRUN, 0, b"")]
    assert_is_ready(device)


def test_a_stuck_accelerator_is_reset_and_reported() -> None:
    device = SimulatedDevice(ByteAdder(BEATS, is_deaf=True), IDENTITY)
    for tag in (1, 2):
        assert ask(device, infer(tag)) == Answer(Status.STUCK, tag, b"")
    assert ask(device, encode_request(Command.RESET, 3)) == Answer(Status.OK, 3, b"")
    assert device.fed == 2 * BEATS


def damaged(frame: bytes) -> bytes:
    """Return the frame with up to three random changes: a bit, a byte more, a byte less, an end cut off."""
    changed = bytearray(frame)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(changed))
        match random.choice(("bit", "more", "less", "cut")):
            case "bit":
                changed[place] ^= 1 << random.randrange(8)
            case "more":
                changed.insert(place, random.randrange(256))
            case "less" if len(changed) > 1:
                del changed[place]
            case "cut" if place:
                del changed[place:]
            case _:
                changed[place] ^= 0xFF
    return bytes(changed)


@pytest.mark.slow
def test_200_random_frames_never_hang_and_never_lie(device: SimulatedDevice) -> None:
    answered = dict.fromkeys(Status, 0)
    good = 0
    for number in range(200):
        tag = 1 + number % 255
        image = random.randbytes(BEATS)
        request = infer(tag, image)
        kind = random.choice(("good", "damaged", "damaged", "garbage"))
        if kind == "damaged":
            request = damaged(request)
        elif kind == "garbage":
            request = random.randbytes(random.randint(1, 40))
        said = answers(device, request)
        assert said, f"no answer to {request.hex()}"
        if request == infer(tag, image):
            assert said == [Answer(Status.OK, tag, result(image))]
            good += 1
        for answer in said:
            answered[answer.status] += 1
    # No damaged frame was taken for a good one, and none of their payload reached the accelerator.
    assert answered[Status.OK] == good
    assert device.fed == good * BEATS
    assert_is_ready(device)
    assert min(answered[status] for status in (Status.NOISE, Status.WRONG_CRC, Status.TIMED_OUT)) > 0


def test_the_host_program_talks_to_the_hardware(device: SimulatedDevice) -> None:
    host = Device(device, timeout_s=0)
    assert host.identify() == IDENTITY
    assert host.infer(list(IMAGE)) == Inference((SUM,), BEATS + 1)
    host.reset()
    device.write(b"garbage")
    assert host.infer(list(IMAGE)) == Inference((SUM,), BEATS + 1)


def test_a_stuck_accelerator_is_an_error_of_the_host_program() -> None:
    host = Device(SimulatedDevice(ByteAdder(BEATS, is_deaf=True), IDENTITY), timeout_s=0)
    with pytest.raises(ToolError) as caught:
        host.infer(list(IMAGE))
    assert str(caught.value) == (
        "error[device-stuck]: the accelerator took the image but did not finish, so the device reset it\n"
        "  help: check that this design passed `bitkiln verify`"
    )


def test_the_host_program_talks_through_the_wires() -> None:
    device = WiredDevice(ByteAdder(BEATS), IDENTITY)
    host = Device(device, timeout_s=0)
    assert host.identify() == IDENTITY
    assert host.infer(list(IMAGE)) == Inference((SUM,), BEATS + 1)
    assert ask(device, infer(7)[:-1] + b"\x00") == Answer(Status.WRONG_CRC, 7, b"")
    assert ask(device, infer(8)[:-1]) == Answer(Status.TIMED_OUT, 8, b"")
    assert host.infer([255] * BEATS) == Inference((255 * BEATS,), BEATS + 1)
