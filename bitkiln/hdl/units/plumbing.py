"""RTL of width converters and forks."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value

from bitkiln.ir import Stream
from bitkiln.ir.units import Fork, Resize

from ._parts import UnitComponent, loop_nest, registered


class ResizeRtl(UnitComponent):
    """See `bitkiln.ir.units.Resize`."""

    def __init__(self, unit: Resize, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        (loop,) = loop_nest(m, go, (("part", unit.ratio),))
        if unit.lanes_in > unit.lanes_out:
            width = unit.lanes_out * unit.bits
            m.d.comb += [
                self.i0.ready.eq(queue.room & loop.is_last),
                go.eq(self.i0.valid & queue.room),
                queue.issue.eq(go),
                queue.payload.eq(self.i0.payload.word_select(loop.index, width)),
            ]
        else:
            m.d.comb += [
                self.i0.ready.eq(queue.room | ~loop.is_last),
                go.eq(self.i0.valid & self.i0.ready),
                queue.issue.eq(go & loop.is_last),
            ]
            held: Value = self.i0.payload
            parts = [held]
            for n in range(unit.ratio - 1):
                held = registered(m, held, f"held_{n}", go)
                parts.insert(0, held)
            m.d.comb += queue.payload.eq(Cat(*parts))
        m.d.comb += queue.push.eq(queue.issue)
        return m


class ForkRtl(UnitComponent):
    """See `bitkiln.ir.units.Fork`."""

    def __init__(self, unit: Fork, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        queues = self.queues(m)
        room: Value = Const(1)
        for queue in queues:
            room = room & queue.room
        m.d.comb += self.i0.ready.eq(room)
        for queue in queues:
            m.d.comb += [
                queue.issue.eq(self.i0.valid & room),
                queue.push.eq(queue.issue),
                queue.payload.eq(self.i0.payload),
            ]
        return m
