"""The frames between a host and an accelerator: one definition for the hardware, host programs and tests.

A request and its answer have the same form, with different magic bytes so that an echo is no answer:

    magic (2) | command or status (1) | 0 (1) | tag (4) | payload length (4) | payload | CRC-32 (4)

Numbers are little endian. The tag is drawn at random, so an answer to somebody else's request, or to one of an earlier
run, is not taken for an answer to this one. The CRC-32 is
zlib's, over everything before it. docs/host_protocol.md has the rules.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from bitkiln.ir import Plan, fail
from bitkiln.ir.units import Beat

PROTOCOL_VERSION = 2
REQUEST_MAGIC = b"BK"
ANSWER_MAGIC = b"bk"
HEADER_BYTES = 12
TAG_BYTES = 4
CRC_BYTES = 4
DIGEST_BYTES = 32
LATENCY_BYTES = 4
BITS_PER_BYTE = 10  # start, eight data, stop
CHUNK_BYTES = 256
CHUNK_NUMBER_BYTES = 2
BANK_BYTES = 1

_HEADER = struct.Struct("<2sBxII")
_CRC = struct.Struct("<I")
_STREAM = struct.Struct("<HBBI")
_BIPOLAR = 2  # where others have 0 for unsigned and 1 for signed
_IDENTITY = struct.Struct(f"<BBBxI8s8s{DIGEST_BYTES}sI{DIGEST_BYTES}s")
IDENTITY_BYTES = _IDENTITY.size
IDENTITY_PLACES = 1 << (IDENTITY_BYTES - 1).bit_length()
"""Words of a memory that holds it."""
STATE_AT = 2
"""Where the identity says which weights are loaded: bit 0, whether there are any; bit 1, in which bank."""

WEIGHTS_DIGEST_AT = IDENTITY_BYTES - DIGEST_BYTES
DESIGN_DIGEST_AT = struct.calcsize("<BBBxI8s8s")


class Command(IntEnum):
    """What a request asks for."""

    IDENTIFY = 1
    INFER = 2
    RESET = 3
    LOAD = 4
    SWITCH = 5


class Status(IntEnum):
    """How a request ended. Every status but OK comes with an empty payload.

    NOISE: bytes that are no frame. TIMED_OUT: the line went quiet within a frame. OVERRUN: bytes came before
    the last answer was out. STUCK: the accelerator did not finish and was reset. NOT_LOADED: it has no weights, or not
    all of those that it shall use. OUT_OF_ORDER: another part of the weights is due, or they must start afresh.
    """

    OK = 0
    NOISE = 1
    UNKNOWN_COMMAND = 2
    WRONG_LENGTH = 3
    WRONG_CRC = 4
    TIMED_OUT = 5
    OVERRUN = 6
    STUCK = 7
    NOT_LOADED = 8
    OUT_OF_ORDER = 9


@dataclass(frozen=True)
class StreamFormat:
    """How one image, or one result, is cut into `beats` beats. On the wire each is whole bytes, little endian.

    >>> StreamFormat(Beat(lanes=2, bits=4, signed=True), beats=1).pack([-1, 3]).hex()
    '3f'
    """

    beat: Beat
    beats: int

    def __post_init__(self) -> None:
        beat = self.beat
        assert 1 <= beat.lanes < 1 << 16 and 1 <= beat.bits < 1 << 8 and 1 <= self.beats < 1 << 32, self

    @property
    def bytes_per_beat(self) -> int:
        return (self.beat.width + 7) // 8

    @property
    def total_bytes(self) -> int:
        return self.beats * self.bytes_per_beat

    @property
    def elements(self) -> int:
        return self.beats * self.beat.lanes

    @property
    def code_range(self) -> tuple[int, int]:
        """Return the lowest and the highest code."""
        return self.beat.code_range

    def pack(self, codes: Sequence[int]) -> bytes:
        """Return the bytes of all elements. Raises `wrong-image` for a wrong number of codes or one too large."""
        if len(codes) != self.elements:
            raise fail("wrong-image", f"expected {self.elements} elements, not {len(codes)}")
        low, high = self.code_range
        wrong = [int(code) for code in codes if not low <= int(code) <= high or (self.beat.bipolar and not code)]
        if wrong:
            legal = "-1 or 1" if self.beat.bipolar else f"between {low} and {high}"
            raise fail("wrong-image", f"codes must be {legal}, not {wrong[0]}")
        lanes, bits = self.beat.lanes, self.beat.bits
        unsigned = [self.beat.field(int(code)) for code in codes]
        beats = (unsigned[start : start + lanes] for start in range(0, len(unsigned), lanes))
        words = (sum(code << bits * lane for lane, code in enumerate(beat)) for beat in beats)
        return b"".join(word.to_bytes(self.bytes_per_beat, "little") for word in words)

    def unpack(self, data: bytes) -> tuple[int, ...]:
        """Return the codes of all elements; `data` must have `total_bytes` bytes. Bits above a beat are ignored."""
        assert len(data) == self.total_bytes
        size, bits = self.bytes_per_beat, self.beat.bits
        words = [int.from_bytes(data[start : start + size], "little") for start in range(0, len(data), size)]
        return tuple(self.beat.code(word >> bits * lane) for word in words for lane in range(self.beat.lanes))

    def _encode(self) -> bytes:
        meaning = _BIPOLAR if self.beat.bipolar else int(self.beat.signed)
        return _STREAM.pack(self.beat.lanes, self.beat.bits, meaning, self.beats)

    @classmethod
    def _decode(cls, data: bytes) -> StreamFormat:
        lanes, bits, meaning, beats = _STREAM.unpack(data)
        return cls(Beat(lanes, bits, meaning == 1, meaning == _BIPOLAR), beats)


def stream_formats(plan: Plan) -> tuple[StreamFormat, StreamFormat]:
    """Return the formats of an image and of a result."""
    image, result = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
    return StreamFormat(image.beat, image.beats), StreamFormat(result.beat, result.beats)


@dataclass(frozen=True)
class Identity:
    """Which design is in the chip: its streams, its clock and the SHA-256 that its maker gave it.

    The host loads `load_bytes` of weights, a whole number of chunks, into one of `banks`; 0 if they are part of the
    design. `weights_digest` is the SHA-256 of those that are in use, in `bank`; None before the first are.
    """

    input: StreamFormat
    output: StreamFormat
    clock_hz: int
    design_digest: bytes
    load_bytes: int = 0
    banks: int = 1
    bank: int = 0
    weights_digest: bytes | None = None

    def __post_init__(self) -> None:
        assert len(self.design_digest) == DIGEST_BYTES, "a design digest is a SHA-256"
        assert self.load_bytes % CHUNK_BYTES == 0 and self.chunks < 1 << 8 * CHUNK_NUMBER_BYTES, self.load_bytes

    @property
    def chunks(self) -> int:
        """Requests that it takes to load weights."""
        return self.load_bytes // CHUNK_BYTES

    @property
    def next_bank(self) -> int:
        """The bank that is loaded next."""
        return self.banks - 1 - self.bank

    def encode(self) -> bytes:
        is_loaded = self.weights_digest is not None
        return _IDENTITY.pack(
            PROTOCOL_VERSION,
            self.banks,
            is_loaded | self.bank << 1,
            self.clock_hz,
            self.input._encode(),
            self.output._encode(),
            self.design_digest,
            self.load_bytes,
            self.weights_digest or bytes(DIGEST_BYTES),
        )

    @classmethod
    def decode(cls, payload: bytes) -> Identity:
        """Raises `wrong-protocol` when the device does not speak this version."""
        if len(payload) != IDENTITY_BYTES or payload[0] != PROTOCOL_VERSION:
            came = f"version {payload[0]}" if payload else "nothing"
            message = f"expected a device that speaks protocol version {PROTOCOL_VERSION}, but it says {came}"
            raise fail("wrong-protocol", message, hint="build and flash its design again with this bitkiln")
        _, banks, state, clock_hz, given, result, digest, load_bytes, weights = _IDENTITY.unpack(payload)
        formats = StreamFormat._decode(given), StreamFormat._decode(result)
        return cls(*formats, clock_hz, digest, load_bytes, banks, state >> 1 & 1, weights if state & 1 else None)


def known_commands(identity: Identity) -> tuple[Command, ...]:
    """Return what a design answers; one that loads nothing does not know how."""
    loading = (Command.LOAD, Command.SWITCH)
    return tuple(command for command in Command if identity.load_bytes or command not in loading)


def request_bytes(command: Command, identity: Identity) -> int:
    """Return how long the payload of a request must be."""
    match command:
        case Command.INFER:
            return identity.input.total_bytes
        case Command.LOAD:
            return CHUNK_NUMBER_BYTES + CHUNK_BYTES
        case Command.SWITCH:
            return BANK_BYTES + DIGEST_BYTES
        case Command.IDENTIFY | Command.RESET:
            return 0


def inference_bytes(image: StreamFormat, result: StreamFormat) -> int:
    """Return how many bytes an image is on the line: its request and the answer, which tells the latency, too."""
    return image.total_bytes + LATENCY_BYTES + result.total_bytes + 2 * (HEADER_BYTES + CRC_BYTES)


def encode_request(command: int, tag: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a request. Takes any number as the command: tests send unknown ones."""
    return _encode(REQUEST_MAGIC, command, tag, payload)


def encode_answer(status: int, tag: int, payload: bytes = b"") -> bytes:
    """Return the bytes of an answer, as a device sends them."""
    return _encode(ANSWER_MAGIC, status, tag, payload)


def _encode(magic: bytes, kind: int, tag: int, payload: bytes) -> bytes:
    frame = _HEADER.pack(magic, kind, tag, len(payload)) + payload
    return frame + _CRC.pack(zlib.crc32(frame))


@dataclass(frozen=True)
class Answer:
    """What the device said; `tag` is the request's, or 0 where the device could not tell which it was."""

    status: Status
    tag: int
    payload: bytes


def take_answer(received: bytes, longest_payload: int) -> tuple[Answer | None, bytes]:
    """Return the first whole answer in the bytes `received` (None if there is none yet) and the bytes after it.

    Bytes that belong to no good answer are dropped. `longest_payload` is the longest that an answer can have.
    """
    start = 0
    while True:
        start = received.find(ANSWER_MAGIC, start)
        if start < 0:
            # The magic's first byte may be the last byte so far.
            return None, received[-1:] if received.endswith(ANSWER_MAGIC[:1]) else b""
        frame = received[start:]
        if len(frame) < HEADER_BYTES:
            return None, frame
        _, status, tag, length = _HEADER.unpack_from(frame)
        if length <= longest_payload and status in Status.__members__.values():
            end = HEADER_BYTES + length
            if len(frame) < end + CRC_BYTES:
                return None, frame
            if _CRC.unpack_from(frame, end)[0] == zlib.crc32(frame[:end]):
                return Answer(Status(status), tag, frame[HEADER_BYTES:end]), frame[end + CRC_BYTES :]
        start += 1
