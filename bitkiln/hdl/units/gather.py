"""RTL of reordering and of concatenation."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib.memory import Memory

from bitkiln.ir import Stream
from bitkiln.ir.units import ConcatStreams, Gather

from ._parts import UnitComponent, delayed, loop_nest, registered


class GatherRtl(UnitComponent):
    """See `bitkiln.ir.units.Gather`."""

    def __init__(self, unit: Gather, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        size = unit.block_beats
        m.submodules.blocks = blocks = Memory(shape=unsigned(unit.beat.width), depth=unit.PLACES * size, init=[])
        write, read = blocks.write_port(), blocks.read_port(domain="sync")
        wrote, go = Signal(), Signal()
        beat, place = loop_nest(m, wrote, (("beat", size), ("write_place", unit.PLACES)))
        step, from_place = loop_nest(m, go, (("step", len(unit.source)), ("read_place", unit.PLACES)))
        filled, free = Signal(range(unit.PLACES + 1)), Signal(range(unit.PLACES + 1), init=unit.PLACES)
        starts, ends = wrote & beat.is_first, go & step.is_last
        freed = delayed(m, ends, unit.RELEASE_DELAY - 1, "freed", is_control=True)
        m.d.sync += [
            filled.eq(filled + (wrote & beat.is_last) - (go & step.is_first)),
            free.eq(free + freed - starts),
        ]
        m.d.comb += [
            self.i0.ready.eq(~beat.is_first | (free != 0)),
            wrote.eq(self.i0.valid & self.i0.ready),
            write.en.eq(wrote),
            write.addr.eq(beat.index + Mux(place.index != 0, size, 0)),
            write.data.eq(self.i0.payload),
            go.eq(queue.room & (~step.is_first | (filled != 0))),
            queue.issue.eq(go),
            queue.push.eq(delayed(m, go, unit.LATENCY, "done", is_control=True)),
        ]
        source, is_zero = self._source(m, step.index)
        base = Mux(registered(m, from_place.index, "place"), size, 0)
        m.d.comb += [
            read.addr.eq(registered(m, (source + base)[: len(read.addr)], "address")),
            queue.payload.eq(Mux(delayed(m, is_zero, 2, "zero"), 0, read.data)),
        ]
        return m

    def _source(self, m: Module, step: Signal) -> tuple[Value, Value]:
        """The beat that a step reads, and whether it gives zeros instead, one cycle later."""
        unit = self.unit
        bits = max(1, (unit.block_beats - 1).bit_length())
        words = [(1 << bits) if source < 0 else source for source in unit.source.tolist()]
        if len(words) == 1:
            return Const(words[0], bits + 1)[:bits], Const(words[0] >> bits)
        m.submodules.source = memory = Memory(shape=unsigned(bits + 1), depth=len(words), init=words)
        read = memory.read_port(domain="sync")
        m.d.comb += read.addr.eq(step)
        return read.data[:bits], read.data[bits]


class ConcatStreamsRtl(UnitComponent):
    """See `bitkiln.ir.units.ConcatStreams`."""

    def __init__(self, unit: ConcatStreams, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        ports = [getattr(self, f"i{number}") for number in range(len(unit.parts))]
        port = Signal(range(len(ports)))
        left = Signal(range(max(unit.parts)), init=unit.parts[0] - 1)
        following = Mux(port == len(ports) - 1, 0, port + 1)
        m.d.comb += [
            queue.issue.eq(queue.room & Array(source.valid for source in ports)[port]),
            queue.push.eq(queue.issue),
            queue.payload.eq(Array(source.payload for source in ports)[port]),
            *(source.ready.eq(queue.room & (port == number)) for number, source in enumerate(ports)),
        ]
        with m.If(queue.issue):
            with m.If(left == 0):
                m.d.sync += [port.eq(following), left.eq(Array(part - 1 for part in unit.parts)[following])]
            with m.Else():
                m.d.sync += left.eq(left - 1)
        return m
