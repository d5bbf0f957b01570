"""The host's end of the link, in plain Python: what `bitkiln infer`, host programs and the tests use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bitkiln.ir import ToolError, fail

from .protocol import (
    IDENTITY_BYTES,
    LATENCY_BYTES,
    TAG_BYTES,
    Answer,
    Command,
    Identity,
    Status,
    encode_request,
    take_answer,
)

READ_BYTES = 4096
LAST_TAG = (1 << 8 * TAG_BYTES) - 1  # 0 is the device's word for "I could not tell whose"


class Transport(Protocol):
    """Bytes to and from a device: a `serial.Serial` with a time-out, or anything with these two methods."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none when nothing came for the transport's own time-out."""

    def write(self, data: bytes, /) -> object:
        """Send all of `data`."""


@dataclass(frozen=True)
class Inference:
    """One result: the codes of the last tensor, and the cycles from the first input beat to the last output."""

    codes: tuple[int, ...]
    latency_cycles: int


class Device:
    """An accelerator at the other end of `transport`.

    A request that the line damaged is sent again, at most `attempts` times in all; every answer is checked, so
    what is returned is what the device computed. `timeout_s` is how long to wait for the next byte.

        with serial.Serial("/dev/ttyUSB1", 1_000_000, timeout=0.1) as port:
            print(Device(port).infer(codes).codes)
    """

    def __init__(self, transport: Transport, *, timeout_s: float = 5.0, attempts: int = 3) -> None:
        assert attempts >= 1
        self._transport = transport
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._tag = secrets.randbelow(LAST_TAG)  # answers to an earlier program have other tags
        self._received = b""
        self._identity: Identity | None = None

    def identify(self) -> Identity:
        """Ask which design is in the chip. Raises like `infer`, and `wrong-protocol`."""
        return Identity.decode(self._request(Command.IDENTIFY, b"", IDENTITY_BYTES))

    def infer(self, codes: Sequence[int]) -> Inference:
        """Run one image, given as the integer codes of the input tensor in the order of the stream.

        Raises `wrong-image` for codes that the design does not take, `no-answer` if the device is silent,
        `link-failed` if every attempt was damaged, `device-stuck` if the accelerator did not finish.
        """
        identity = self._known_identity()
        longest = LATENCY_BYTES + identity.output.total_bytes
        payload = self._request(Command.INFER, identity.input.pack(codes), longest)
        if len(payload) != longest:
            raise fail("link-failed", f"expected a result of {longest} bytes, not {len(payload)}")
        cycles = int.from_bytes(payload[:LATENCY_BYTES], "little")
        return Inference(identity.output.unpack(payload[LATENCY_BYTES:]), cycles)

    def reset(self) -> None:
        """Make the accelerator start afresh. Raises like `infer`."""
        self._request(Command.RESET, b"", 0)

    def _known_identity(self) -> Identity:
        if self._identity is None:
            self._identity = self.identify()
        return self._identity

    def _request(self, command: Command, payload: bytes, longest: int) -> bytes:
        said: list[str] = []
        for _ in range(self._attempts):
            self._tag = self._tag % LAST_TAG + 1
            self._transport.write(encode_request(command, self._tag, payload))
            answer = self._answer(longest)
            if answer is None:
                said.append("nothing")
            elif answer.status is Status.OK:
                return answer.payload
            elif answer.status is Status.STUCK:
                message = "the accelerator took the image but did not finish, so the device reset it"
                raise fail("device-stuck", message, hint="check that this design passed `bitkiln verify`")
            else:
                said.append(answer.status.name)
        raise self._failure(command, said)

    def _answer(self, longest: int) -> Answer | None:
        """Return the answer to the last request, or None if it does not come; older answers are dropped."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            answer, self._received = take_answer(self._received, longest)
            if answer is None:
                came = self._transport.read(READ_BYTES)
                now = time.monotonic()
                if came:
                    deadline = now + self._timeout_s
                elif now >= deadline:
                    self._received = b""
                    return None
                self._received += came
            elif answer.tag == self._tag or (answer.tag == 0 and answer.status is not Status.OK):
                return answer

    def _failure(self, command: Command, said: Sequence[str]) -> ToolError:
        if set(said) == {"nothing"}:
            message = f"the device did not answer {command.name} within {self._timeout_s:g} s"
            hint = "check the port, its baud rate, and that the board is flashed"
            return fail("no-answer", message, hint=hint)
        message = f"{command.name} failed {len(said)} times; the device said {', '.join(said)}"
        return fail("link-failed", message, hint="check the cable and the baud rate")
