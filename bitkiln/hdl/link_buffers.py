"""What stands between the slow bytes of the link and the beats of the accelerator: whole images and results."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .protocol import LATENCY_BYTES, StreamFormat


class ImageBuffer(wiring.Component):
    """Holds one image until it is known to be good, then gives a beat each cycle that `o` is ready.

    `byte` is taken when `has_byte` is high, as the next of the image; `rewind` starts a new one. `go` releases
    the image, `stop` takes back what has not left; `is_empty` says that all of it has.
    """

    def __init__(self, image: StreamFormat) -> None:
        self._image = image
        super().__init__(
            {
                "rewind": In(1),
                "has_byte": In(1),
                "byte": In(8),
                "go": In(1),
                "stop": In(1),
                "is_empty": Out(1),
                "o": Out(stream.Signature(image.beat.width)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # Amaranth gives a memory of one row an address of no bits, which yosys does not read.
        depth = max(self._image.beats, 2)
        m.submodules.memory = memory = Memory(shape=self._image.beat.width, depth=depth, init=[])
        self._write(m, memory.write_port())
        self._read(m, memory.read_port())
        return m

    def _write(self, m: Module, port: Any) -> None:
        size = self._image.bytes_per_beat
        earlier = Signal(8 * (size - 1))
        in_beat = Signal(range(size + 1))
        is_last = in_beat == size - 1
        word = Cat(earlier, self.byte)
        m.d.comb += [port.data.eq(word), port.en.eq(self.has_byte & is_last)]
        with m.If(self.rewind):
            m.d.sync += [port.addr.eq(0), in_beat.eq(0)]
        with m.Elif(self.has_byte):
            m.d.sync += [earlier.eq(word[8:]), in_beat.eq(Mux(is_last, 0, in_beat + 1))]
            with m.If(is_last):
                m.d.sync += port.addr.eq(port.addr + 1)

    def _read(self, m: Module, port: Any) -> None:
        # The memory's own output register holds the beat that is on offer.
        next_beat = Signal(range(self._image.beats + 1))
        is_running = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            port.addr.eq(next_beat),
            port.en.eq(advance),
            self.o.payload.eq(port.data),
            self.is_empty.eq(~is_running & ~self.o.valid),
        ]
        with m.If(self.stop):
            m.d.sync += [self.o.valid.eq(0), is_running.eq(0)]
        with m.Elif(self.go):
            m.d.sync += [next_beat.eq(0), is_running.eq(1)]
        with m.Elif(advance):
            m.d.sync += self.o.valid.eq(is_running)
            with m.If(is_running):
                m.d.sync += next_beat.eq(next_beat + 1)
            with m.If(next_beat == self._image.beats - 1):
                m.d.sync += is_running.eq(0)


class ResultBuffer(wiring.Component):
    """Collects one result and gives its bytes, after those of the latency.

    `go` starts; `is_done` is high when all beats came. Then `bytes` gives the latency in cycles, counted from
    the first cycle in which `is_fed` is high to the last accepted beat, both included, and the beats.
    """

    def __init__(self, result: StreamFormat) -> None:
        self._result = result
        super().__init__(
            {
                "go": In(1),
                "stop": In(1),
                "is_fed": In(1),
                "i": In(stream.Signature(result.beat.width)),
                "is_done": Out(1),
                "bytes": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        depth = max(self._result.beats, 2)
        m.submodules.memory = memory = Memory(shape=self._result.beat.width, depth=depth, init=[])
        latency_cycles = Signal(8 * LATENCY_BYTES)
        self._collect(m, memory.write_port(), latency_cycles)
        self._give_bytes(m, memory.read_port(), latency_cycles)
        return m

    def _collect(self, m: Module, port: Any, latency_cycles: Signal) -> None:
        left = Signal(range(self._result.beats + 1))
        is_counting = Signal()
        m.d.comb += [
            self.i.ready.eq(left != 0),
            self.is_done.eq(left == 0),
            port.data.eq(self.i.payload),
            port.en.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.go):
            m.d.sync += [left.eq(self._result.beats), port.addr.eq(0), latency_cycles.eq(0), is_counting.eq(0)]
        with m.Elif(self.stop):
            m.d.sync += left.eq(0)
        with m.Else():
            with m.If(port.en):
                m.d.sync += [left.eq(left - 1), port.addr.eq(port.addr + 1)]
            with m.If((is_counting | self.is_fed) & (left != 0)):
                m.d.sync += [is_counting.eq(1), latency_cycles.eq(latency_cycles + 1)]

    def _give_bytes(self, m: Module, port: Any, latency_cycles: Signal) -> None:
        size = self._result.bytes_per_beat
        word = Signal(8 * max(size, LATENCY_BYTES))
        left = Signal(range(max(size, LATENCY_BYTES) + 1))
        m.d.comb += [
            port.en.eq(1),
            self.bytes.payload.eq(word[:8]),
            self.bytes.valid.eq(self.is_done & (left != 0)),
        ]
        with m.FSM():
            with m.State("LATENCY"):
                m.d.sync += [word.eq(latency_cycles), left.eq(LATENCY_BYTES), port.addr.eq(0)]
                with m.If(self.is_done):
                    m.next = "BYTES"
            with m.State("BYTES"):
                with m.If(self.bytes.valid & self.bytes.ready):
                    m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]
                with m.Elif(left == 0):
                    m.d.sync += [word.eq(port.data), left.eq(size), port.addr.eq(port.addr + 1)]
                with m.If(~self.is_done):
                    m.next = "LATENCY"
