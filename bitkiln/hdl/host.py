"""The host's end of the link, in plain Python: what `bitkiln infer`, host programs and the tests use."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bitkiln.ir import ToolError, fail

from .protocol import (
    BANK_BYTES,
    CHUNK_NUMBER_BYTES,
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
from .weight_set import WeightSet

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
        `link-failed` if every attempt was damaged, `device-stuck` if the accelerator did not finish, `not-loaded` if
        its weights have not come.
        """
        identity = self._known_identity()
        longest = LATENCY_BYTES + identity.output.total_bytes
        answer = self._exchange(Command.INFER, identity.input.pack(codes), longest)
        if answer.status is Status.NOT_LOADED:
            message = "the accelerator has no weights yet: the host loads them each time the chip has started"
            raise fail("not-loaded", message, hint="Device.load, or `bitkiln infer --graph`, which does it")
        payload = answer.payload
        if len(payload) != longest:
            raise fail("link-failed", f"expected a result of {longest} bytes, not {len(payload)}")
        cycles = int.from_bytes(payload[:LATENCY_BYTES], "little")
        return Inference(identity.output.unpack(payload[LATENCY_BYTES:]), cycles)

    def reset(self) -> None:
        """Make the accelerator start afresh. Raises like `infer`."""
        self._request(Command.RESET, b"", 0)

    def load(self, weights: WeightSet, on_chunk: Callable[[int], None] = lambda done: None) -> None:
        """Load weights and use them from the next image on. `on_chunk` hears how many chunks are there.

        A device that was reset in between gets them again. Raises like `preload` and `switch`.
        """
        for _ in range(self._attempts):
            for done in self.preload(weights):
                on_chunk(done)
            if self._is_switched(weights):
                return
        raise self._lost(self._attempts)

    def preload(self, weights: WeightSet) -> Iterator[int]:
        """Send weights chunk by chunk into the bank that is loaded next; gives how many are there.

        With two banks `infer` works in between, with the weights that are in use; with one bank it has none from the
        first chunk on. A device that lost its place, because it was reset, gets all chunks again. Raises
        `wrong-weights` if the design takes weights of another size, and like `infer`.
        """
        self._check_size(weights)
        chunks, restarts, number = weights.chunks, 0, 0
        while number < len(chunks):
            payload = number.to_bytes(CHUNK_NUMBER_BYTES, "little") + chunks[number]
            if self._exchange(Command.LOAD, payload, 0).status is Status.OK:
                number += 1
                yield number
                continue
            restarts, number = restarts + 1, 0
            if restarts == self._attempts:
                raise self._lost(restarts)

    def switch(self, weights: WeightSet) -> None:
        """Use the weights that were sent last from the next image on.

        Raises `not-loaded` if they are not all there, `wrong-weights` if the device then says that it uses others, and
        like `infer`.
        """
        if not self._is_switched(weights):
            message = "the device does not have all of the weights that it should use"
            raise fail("not-loaded", message, hint="load them again; a reset makes it forget those not in use")

    def _is_switched(self, weights: WeightSet) -> bool:
        bank = self.identify().next_bank.to_bytes(BANK_BYTES, "little")
        if self._exchange(Command.SWITCH, bank + weights.digest, 0).status is not Status.OK:
            return False
        if self.identify().weights_digest != weights.digest:
            message = "the device uses other weights than those that were loaded"
            raise fail("wrong-weights", message, hint="load them again, from one program at a time")
        return True

    def _lost(self, times: int) -> ToolError:
        message = f"the device lost its place in the weights {times} times"
        return fail("link-failed", message, hint="check its power: it is reset while it is loaded")

    def _check_size(self, weights: WeightSet) -> None:
        expected, came = self.identify().load_bytes, len(weights.data)
        if expected == came:
            return
        if not expected:
            message = "this design has its weights in its bitstream and takes none from the host"
            raise fail("wrong-weights", message, hint="build it with storage = 'loaded' or 'big'")
        message = f"this design takes {expected} bytes of weights, not {came}"
        raise fail(
            "wrong-weights", message, hint="make them of the graph, and with the options, that it was built with"
        )

    def _known_identity(self) -> Identity:
        if self._identity is None:
            self._identity = self.identify()
        return self._identity

    def _request(self, command: Command, payload: bytes, longest: int) -> bytes:
        return self._exchange(command, payload, longest).payload

    def _exchange(self, command: Command, payload: bytes, longest: int) -> Answer:
        """Return the answer of a device that understood: OK, or what is wrong with its weights."""
        said: list[str] = []
        for _ in range(self._attempts):
            self._tag = self._tag % LAST_TAG + 1
            self._transport.write(encode_request(command, self._tag, payload))
            answer = self._answer(longest)
            if answer is None:
                said.append("nothing")
            elif answer.status in (Status.OK, Status.NOT_LOADED, Status.OUT_OF_ORDER):
                return answer
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
