"""Frames in hardware: one component takes requests apart and checks them, the other puts answers together."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol import (
    ANSWER_MAGIC,
    CRC_BYTES,
    HEADER_BYTES,
    REQUEST_MAGIC,
    TAG_BYTES,
    Identity,
    Status,
    known_commands,
    request_bytes,
)

FRAME = data.StructLayout({"status": 8, "command": 8, "tag": 8 * TAG_BYTES})
# What a component asks of the link's only checksum: there is never a request and an answer at once.
CHECKSUM = wiring.Signature({"start": Out(1), "valid": Out(1), "data": Out(8), "value": In(32), "is_match": In(1)})
ANSWER = data.StructLayout({"status": 8, "tag": 8 * TAG_BYTES, "length": 32})


class FrameReceiver(wiring.Component):
    """Checks one request at a time and says what came on `frame`; `rx` gives its bytes.

    The payload of a request leaves byte by byte on `byte` while `has_byte` is high, after a cycle of
    `is_first`, long before `frame` says whether it is good: whoever takes the bytes must wait for that. Until
    `frame` is accepted the receiver drops what comes, and says OVERRUN afterwards if something did. After
    anything that is no frame it waits until the line was quiet for `quiet_cycles`, so that the rest of it
    cannot pass for a request.
    """

    def __init__(self, identity: Identity, quiet_cycles: int) -> None:
        self._lengths = {command: request_bytes(command, identity) for command in known_commands(identity)}
        self._quiet_cycles = quiet_cycles
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "is_first": Out(1),
                "has_byte": Out(1),
                "byte": Out(8),
                "frame": Out(stream.Signature(FRAME)),
                "checksum": Out(CHECKSUM),
            }
        )
        self._came = Signal()
        self._is_quiet = Signal()
        self._position = Signal(range(HEADER_BYTES))
        self._left = Signal(range(max(self._lengths.values()) + 1))
        self._is_length_wrong = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        quiet = Signal(range(self._quiet_cycles + 1))
        m.d.comb += [
            self._came.eq(self.rx.valid & self.rx.ready),
            self._is_quiet.eq(quiet == self._quiet_cycles),
            self.rx.ready.eq(1),
            self.byte.eq(self.rx.payload),
            self.checksum.data.eq(self.rx.payload),
            self.checksum.valid.eq(self._came & ~self.frame.valid),
            self.checksum.start.eq(self.is_first),
        ]
        m.d.sync += quiet.eq(Mux(self._came, 0, quiet + ~self._is_quiet))
        with m.FSM():
            self._wait_for_frame(m)
            self._take_header(m)
            self._take_body(m)
            self._report(m)
        return m

    def _wait_for_frame(self, m: Module) -> None:
        with m.State("START"):
            m.d.comb += self.is_first.eq(self._came)
            m.d.sync += [self._position.eq(1), self._is_length_wrong.eq(0), self.frame.p.tag.eq(0)]
            with m.If(self._came):
                m.next = "HEADER"
                with m.If(self.rx.payload != REQUEST_MAGIC[0]):
                    self._refuse(m, Status.NOISE)

    def _take_header(self, m: Module) -> None:
        byte = self.rx.payload
        command = self.frame.p.command
        expected: Value = Const(0, 32)
        for known, length in self._lengths.items():
            expected = Mux(command == known, Const(length, 32), expected) if length else expected
        is_length_wrong = self._is_length_wrong | (byte != expected.word_select(self._position[:2], 8))
        is_known = Cat(command == known for known in self._lengths).any()
        with m.State("HEADER"):
            self._watch_for_silence(m)
            with m.If(self._came):
                m.d.sync += self._position.eq(self._position + 1)
                with m.Switch(self._position):
                    with m.Case(1), m.If(byte != REQUEST_MAGIC[1]):
                        self._refuse(m, Status.NOISE)
                    with m.Case(2):
                        m.d.sync += command.eq(byte)
                    with m.Case(4, 5, 6, 7):
                        m.d.sync += self.frame.p.tag.word_select(self._position[:2], 8).eq(byte)
                    with m.Case(8, 9, 10, 11):
                        m.d.sync += self._is_length_wrong.eq(is_length_wrong)
                with m.If(self._position == HEADER_BYTES - 1):
                    m.d.sync += [self._left.eq(expected), self._position.eq(0)]
                    m.next = "CRC"
                    with m.If(expected != 0):
                        m.next = "PAYLOAD"
                    with m.If(~is_known):
                        self._refuse(m, Status.UNKNOWN_COMMAND)
                    with m.Elif(is_length_wrong):
                        self._refuse(m, Status.WRONG_LENGTH)

    def _take_body(self, m: Module) -> None:
        with m.State("PAYLOAD"):
            self._watch_for_silence(m)
            m.d.comb += self.has_byte.eq(self._came)
            with m.If(self._came):
                m.d.sync += self._left.eq(self._left - 1)
                with m.If(self._left == 1):
                    m.next = "CRC"
        with m.State("CRC"):
            self._watch_for_silence(m)
            with m.If(self._came):
                m.d.sync += self._position.eq(self._position + 1)
                with m.If(self._position == CRC_BYTES - 1):
                    m.next = "CHECK"
        with m.State("CHECK"):
            m.d.comb += self.rx.ready.eq(0)
            m.d.sync += self.frame.p.status.eq(Mux(self.checksum.is_match, Status.OK, Status.WRONG_CRC))
            m.next = "REPORT"

    def _report(self, m: Module) -> None:
        has_overrun = Signal()
        with m.State("DRAIN"), m.If(self._is_quiet & ~self._came):
            m.next = "REPORT"
        with m.State("REPORT"):
            m.d.comb += self.frame.valid.eq(1)
            m.d.sync += has_overrun.eq((has_overrun | self._came) & ~self.frame.ready)
            with m.If(self.frame.ready):
                m.next = "START"
                with m.If(has_overrun | self._came):
                    m.d.sync += self.frame.p.tag.eq(0)
                    self._refuse(m, Status.OVERRUN)

    def _refuse(self, m: Module, status: Status) -> None:
        m.d.sync += self.frame.p.status.eq(status)
        m.next = "DRAIN"

    def _watch_for_silence(self, m: Module) -> None:
        with m.If(self._is_quiet & ~self._came):
            m.d.sync += self.frame.p.status.eq(Status.TIMED_OUT)
            m.next = "REPORT"


class FrameSender(wiring.Component):
    """Sends one answer at a time: `answer` says which, is accepted when its last byte has left on `tx`.

    The payload's bytes come from `payload`, as many as the answer's length says, at most `longest_payload`.
    """

    def __init__(self, longest_payload: int) -> None:
        self._longest_payload = longest_payload
        super().__init__(
            {
                "answer": In(stream.Signature(ANSWER)),
                "payload": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "checksum": Out(CHECKSUM),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        checksum = self.checksum
        answer = self.answer.p
        magic = Const(int.from_bytes(ANSWER_MAGIC, "little"), 16)
        header = Cat(magic, answer.status, Const(0, 8), answer.tag, answer.length)
        position = Signal(range(HEADER_BYTES))
        left = Signal(range(self._longest_payload + 1))
        went = Signal()
        m.d.comb += [
            went.eq(self.tx.valid & self.tx.ready),
            checksum.data.eq(self.tx.payload),
        ]
        with m.If(went):
            m.d.sync += position.eq(position + 1)
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += [
                    self.tx.valid.eq(self.answer.valid),
                    self.tx.payload.eq(header.word_select(position, 8)),
                    checksum.start.eq(went & (position == 0)),
                    checksum.valid.eq(went),
                ]
                m.d.sync += left.eq(answer.length)
                with m.If(went & (position == HEADER_BYTES - 1)):
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += [
                    self.tx.valid.eq(self.payload.valid & (left != 0)),
                    self.tx.payload.eq(self.payload.payload),
                    self.payload.ready.eq(self.tx.ready & (left != 0)),
                    checksum.valid.eq(went),
                ]
                with m.If(went):
                    m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += position.eq(0)
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [
                    self.tx.valid.eq(1),
                    self.tx.payload.eq(checksum.value.word_select(position[:2], 8)),
                ]
                with m.If(went & (position == CRC_BYTES - 1)):
                    m.d.comb += self.answer.ready.eq(1)
                    m.d.sync += position.eq(0)
                    m.next = "HEADER"
        return m
