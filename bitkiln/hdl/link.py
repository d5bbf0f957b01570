"""The host link: frames of bytes on one side, the accelerator's streams on the other.

One image is buffered whole and checked before its first beat is released, and one result before its answer
begins: a damaged frame never reaches the accelerator, and a stuck accelerator never makes half an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import crc, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from .link_buffers import ImageBuffer, ResultBuffer
from .link_frames import FrameReceiver, FrameSender
from .protocol import IDENTITY_BYTES, LATENCY_BYTES, Command, Identity, Status

QUIET_S = 0.1
WATCHDOG_S = 2.0


@dataclass(frozen=True)
class LinkTiming:
    """How long the link waits, in clock cycles.

    `quiet_cycles` without a byte end a broken frame; they must be longer than a host's pause within a frame.
    `watchdog_cycles` without a beat in or out of the accelerator mean that it is stuck.
    """

    quiet_cycles: int
    watchdog_cycles: int

    @classmethod
    def at(cls, clock_hz: int) -> LinkTiming:
        """Return the usual times, 0.1 s and 2 s, in cycles of a clock."""
        return cls(round(QUIET_S * clock_hz), round(WATCHDOG_S * clock_hz))


class Link(wiring.Component):
    """Answers the requests whose bytes come on `rx` with the bytes on `tx`.

    `o` feeds the accelerator and `i` takes its results; `reset` is high for a cycle when it must start afresh.
    """

    def __init__(self, identity: Identity, timing: LinkTiming) -> None:
        self._identity = identity
        self._timing = timing
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "o": Out(stream.Signature(identity.input.beat.width)),
                "i": In(stream.Signature(identity.output.beat.width)),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        result_bytes = LATENCY_BYTES + self._identity.output.total_bytes
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver(self._identity, self._timing.quiet_cycles)
        m.submodules.sender = sender = FrameSender(max(result_bytes, IDENTITY_BYTES))
        m.submodules.image = image = ImageBuffer(self._identity.input)
        m.submodules.result = result = ResultBuffer(self._identity.output)
        connect(m, wiring.flipped(self.rx), receiver.rx)
        connect(m, sender.tx, wiring.flipped(self.tx))
        connect(m, image.o, wiring.flipped(self.o))
        connect(m, wiring.flipped(self.i), result.i)
        m.d.comb += [
            image.rewind.eq(receiver.is_first),
            image.has_byte.eq(receiver.has_byte),
            image.byte.eq(receiver.byte),
            result.is_fed.eq(image.o.valid & image.o.ready),
            image.stop.eq(self.reset),
            result.stop.eq(self.reset),
            result.go.eq(image.go),
        ]
        self._share_checksum(m, receiver, sender)
        self._control(m, receiver, sender, image, result)
        return m

    def _control(
        self, m: Module, receiver: FrameReceiver, sender: FrameSender, image: ImageBuffer, result: ResultBuffer
    ) -> None:
        is_idle = Signal()
        has_moved = (self.o.valid & self.o.ready) | (self.i.valid & self.i.ready)
        is_stuck = self._watchdog(m, is_idle | has_moved)
        status = Signal(8)
        frame = receiver.frame.p
        with m.FSM() as machine:
            with m.State("IDLE"):
                m.d.sync += status.eq(frame.status)
                with m.If(receiver.frame.valid):
                    m.next = "ANSWER"
                    with m.If((frame.status == Status.OK) & (frame.command == Command.INFER)):
                        m.d.comb += image.go.eq(1)
                        m.next = "RUN"
                    with m.If((frame.status == Status.OK) & (frame.command == Command.RESET)):
                        m.d.comb += self.reset.eq(1)
            with m.State("RUN"):
                with m.If(result.is_done & image.is_empty):
                    m.next = "ANSWER"
                with m.Elif(is_stuck):
                    m.d.comb += self.reset.eq(1)
                    m.d.sync += status.eq(Status.STUCK)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [sender.answer.valid.eq(1), receiver.frame.ready.eq(sender.answer.ready)]
                with m.If(sender.answer.ready):
                    m.next = "IDLE"
        m.d.comb += is_idle.eq(machine.ongoing("IDLE"))
        self._say(m, status, frame, sender, result)

    def _share_checksum(self, m: Module, receiver: FrameReceiver, sender: FrameSender) -> None:
        m.submodules.crc = checksum = crc.catalog.CRC32_ETHERNET(data_width=8).create()
        m.d.comb += [
            checksum.start.eq(receiver.checksum.start | sender.checksum.start),
            checksum.valid.eq(receiver.checksum.valid | sender.checksum.valid),
            checksum.data.eq(Mux(sender.checksum.valid, sender.checksum.data, receiver.checksum.data)),
        ]
        for user in (receiver.checksum, sender.checksum):
            m.d.comb += [user.value.eq(checksum.crc), user.is_match.eq(checksum.match_detected)]

    def _watchdog(self, m: Module, restart: Any) -> Any:
        waited = Signal(range(self._timing.watchdog_cycles + 1))
        m.d.sync += waited.eq(Mux(restart, 0, waited + 1))
        return waited == self._timing.watchdog_cycles

    def _say(self, m: Module, status: Signal, frame: Any, sender: FrameSender, result: ResultBuffer) -> None:
        """Give the sender its answer: the identity, a result, or nothing."""
        identity = Const(int.from_bytes(self._identity.encode(), "little"), 8 * IDENTITY_BYTES)
        position = Signal(range(IDENTITY_BYTES))
        m.d.comb += [sender.answer.p.status.eq(status), sender.answer.p.tag.eq(frame.tag)]
        with m.If(status == Status.OK), m.Switch(frame.command):
            with m.Case(Command.IDENTIFY):
                m.d.comb += [
                    sender.answer.p.length.eq(IDENTITY_BYTES),
                    sender.payload.valid.eq(1),
                    sender.payload.payload.eq(identity.word_select(position, 8)),
                ]
            with m.Case(Command.INFER):
                m.d.comb += [
                    sender.answer.p.length.eq(LATENCY_BYTES + self._identity.output.total_bytes),
                    sender.payload.valid.eq(result.bytes.valid),
                    sender.payload.payload.eq(result.bytes.payload),
                    result.bytes.ready.eq(sender.payload.ready),
                ]
        with m.If(sender.answer.ready):
            m.d.sync += position.eq(0)
        with m.Elif(sender.payload.valid & sender.payload.ready):
            m.d.sync += position.eq(position + 1)
