"""RTL of tables and of products of two streams."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib.memory import Memory

from bitkiln.ir import Stream
from bitkiln.ir.units import LookupStream, MultiplyStreams

from ._parts import UnitComponent, delayed, lanes, packed, registered, rescaled


class LookupStreamRtl(UnitComponent):
    """See `bitkiln.ir.units.LookupStream`."""

    def __init__(self, unit: LookupStream, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        words = [unit.output.field(code) for code in unit.table]
        m.submodules.table = table = Memory(shape=unsigned(unit.output.bits), depth=len(words), init=words)
        results: list[Value] = []
        for n, x in enumerate(lanes(self.i0.payload, unit.input.bits, False)):
            read = table.read_port(domain="sync")
            m.d.comb += read.addr.eq(x)
            results.append(registered(m, read.data, f"result_{n}"))
        m.d.comb += [
            self.i0.ready.eq(queue.room),
            go.eq(self.i0.valid & queue.room),
            queue.issue.eq(go),
            queue.push.eq(delayed(m, go, unit.LATENCY, "done", is_control=True)),
            queue.payload.eq(packed(results, unit.output.bits)),
        ]
        return m


class MultiplyStreamsRtl(UnitComponent):
    """See `bitkiln.ir.units.MultiplyStreams`."""

    def __init__(self, unit: MultiplyStreams, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = self.taken_together(m, queue)
        a = lanes(registered(m, self.i0.payload, "a"), unit.a.bits, unit.a.signed)
        b = lanes(registered(m, self.i1.payload, "b"), unit.b.bits, unit.b.signed)
        products = [registered(m, x * y, f"product_{n}") for n, (x, y) in enumerate(zip(a, b, strict=True))]
        results = [rescaled(m, product, unit.rescale, f"lane{n}") for n, product in enumerate(products)]
        m.d.comb += [
            queue.push.eq(delayed(m, go, unit.LATENCY, "done", is_control=True)),
            queue.payload.eq(packed(results, unit.rescale.bits)),
        ]
        return m
