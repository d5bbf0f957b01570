"""The host link: frames of bytes on one side, the accelerator's streams on the other.

One image is buffered whole and checked before its first beat is released, and one result before its answer
begins: a damaged frame never reaches the accelerator, and a stuck accelerator never makes half an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import crc, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from .link_buffers import ImageBuffer, ResultBuffer
from .link_frames import FrameReceiver, FrameSender
from .link_loader import WeightLoader
from .protocol import (
    IDENTITY_BYTES,
    IDENTITY_PLACES,
    LATENCY_BYTES,
    STATE_AT,
    WEIGHTS_DIGEST_AT,
    Command,
    Identity,
    Status,
)
from .units import LOAD_BUS, RENEWABLE_PREFIX

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

    `o` feeds the accelerator and `i` takes its results; `reset` is high for a cycle when it must start afresh. `load`
    is there if the host loads weights; no image is released before it has. With `is_renewable` the identity may be
    replaced in a finished bitstream, as weights may.
    """

    def __init__(self, identity: Identity, timing: LinkTiming, *, is_renewable: bool = False) -> None:
        self._identity = identity
        self._is_renewable = is_renewable
        self._timing = timing
        self._loader = WeightLoader(identity) if identity.load_bytes else None
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "o": Out(stream.Signature(identity.input.beat.width)),
                "i": In(stream.Signature(identity.output.beat.width)),
                "reset": Out(1),
            }
            | ({"load": Out(LOAD_BUS)} if self._loader else {})
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
        if self._loader:
            self._connect_loader(m, receiver, self._loader)
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
                    with m.If(frame.status == Status.OK), m.Switch(frame.command):
                        with m.Case(Command.INFER):
                            self._begin_image(m, image, status)
                        with m.Case(Command.RESET):
                            m.d.comb += self.reset.eq(1)
                        if self._loader:
                            with m.Case(Command.LOAD, Command.SWITCH):
                                m.next = "LOAD"
            if self._loader:
                with m.State("LOAD"):
                    self._load(m, self._loader, frame.command, status)
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

    def _begin_image(self, m: Module, image: ImageBuffer, status: Signal) -> None:
        has_weights = self._loader.is_loaded if self._loader else Const(1)
        m.d.comb += image.go.eq(has_weights)
        m.d.sync += status.eq(Mux(has_weights, Status.OK, Status.NOT_LOADED))
        with m.If(has_weights):
            m.next = "RUN"

    def _connect_loader(self, m: Module, receiver: FrameReceiver, loader: WeightLoader) -> None:
        m.submodules.loader = loader
        connect(m, loader.load, wiring.flipped(self.load))
        m.d.comb += [
            loader.rewind.eq(receiver.is_first),
            loader.has_byte.eq(receiver.has_byte),
            loader.byte.eq(receiver.byte),
            loader.forget.eq(self.reset),
        ]

    def _load(self, m: Module, loader: WeightLoader, command: Value, status: Signal) -> None:
        m.d.comb += [loader.load_chunk.eq(command == Command.LOAD), loader.switch.eq(command == Command.SWITCH)]
        with m.If(loader.done):
            m.d.sync += status.eq(loader.status)
            m.next = "ANSWER"

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
        position, is_settled = Signal(range(IDENTITY_BYTES)), Signal()
        m.d.comb += [sender.answer.p.status.eq(status), sender.answer.p.tag.eq(frame.tag)]
        m.d.sync += is_settled.eq(~(sender.payload.valid & sender.payload.ready))
        with m.If(status == Status.OK), m.Switch(frame.command):
            with m.Case(Command.IDENTIFY):
                m.d.comb += [
                    sender.answer.p.length.eq(IDENTITY_BYTES),
                    sender.payload.valid.eq(is_settled),
                    sender.payload.payload.eq(self._identity_byte(m, position)),
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

    def _identity_byte(self, m: Module, position: Signal) -> Value:
        """The byte at `position` in the cycle before; what it says of loaded weights changes, the rest is fixed."""
        fixed = self._identity.encode()
        byte: Value = Const(int.from_bytes(fixed, "little"), 8 * IDENTITY_BYTES).word_select(position, 8)
        if self._is_renewable:
            memory = Memory(shape=8, depth=IDENTITY_PLACES, init=fixed, attrs={"rom_style": "block"})
            m.submodules[f"{RENEWABLE_PREFIX}identity"] = memory
            port = memory.read_port()
            m.d.comb += port.addr.eq(position)
            byte = port.data
        if self._loader:
            loader = self._loader
            m.d.comb += loader.digest_at.eq(position - WEIGHTS_DIGEST_AT)
            byte = Mux(position >= WEIGHTS_DIGEST_AT, loader.digest, byte)
            byte = Mux(position == STATE_AT, Cat(loader.is_loaded, loader.load.active), byte)
        return byte
