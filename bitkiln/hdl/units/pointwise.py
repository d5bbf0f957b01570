"""RTL of the units that treat each beat by itself or reduce a run of beats."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value

from bitkiln.ir import Stream
from bitkiln.ir.units import AddStreams, Pool, Reduction, RescaleStream, TopKStream

from ._parts import UnitComponent, delayed, lanes, loop_nest, packed, registered, rescaled


class PoolRtl(UnitComponent):
    """See `bitkiln.ir.units.Pool`."""

    def __init__(self, unit: Pool, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        (loop,) = loop_nest(m, go, (("element", unit.window),))
        m.d.comb += [
            self.i0.ready.eq(queue.room | ~loop.is_last),
            go.eq(self.i0.valid & self.i0.ready),
            queue.issue.eq(go & loop.is_last),
        ]
        beat = registered(m, self.i0.payload, "beat")
        valid, first, last = (
            delayed(m, flag, 1, name, is_control=True)
            for name, flag in (("valid", go), ("first", go & loop.is_first), ("last", go & loop.is_last))
        )
        results = [
            self._reduce(m, x, valid, first, n) for n, x in enumerate(lanes(beat, unit.input_bits, unit.input_signed))
        ]
        if unit.rescale:
            results = [rescaled(m, result, unit.rescale, f"lane{n}") for n, result in enumerate(results)]
        m.d.comb += [
            queue.push.eq(delayed(m, last, unit.latency - 1, "done", is_control=True)),
            queue.payload.eq(packed(results, unit.bits)),
        ]
        return m

    def _reduce(self, m: Module, x: Value, valid: Value, first: Value, lane: int) -> Value:
        unit = self.unit
        growth = unit.window.bit_length() if unit.reduction is Reduction.SUM else 0
        result = Signal(Shape(unit.input_bits + growth, unit.input_signed), name=f"result_{lane}", reset_less=True)
        more = result + x if unit.reduction is Reduction.SUM else Mux(x > result, x, result)
        with m.If(valid):
            m.d.sync += result.eq(Mux(first, x, more))
        return result


class AddStreamsRtl(UnitComponent):
    """See `bitkiln.ir.units.AddStreams`."""

    def __init__(self, unit: AddStreams, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = self.taken_together(m, queue)
        pairs = zip(
            lanes(self.i0.payload, unit.a.bits, unit.a.signed),
            lanes(self.i1.payload, unit.b.bits, unit.b.signed),
            strict=True,
        )
        results: list[Value] = [
            registered(m, a.shift_left(unit.shifts[0]) + b.shift_left(unit.shifts[1]), f"sum_{n}")
            for n, (a, b) in enumerate(pairs)
        ]
        if unit.rescale:
            results = [rescaled(m, result, unit.rescale, f"lane{n}") for n, result in enumerate(results)]
        m.d.comb += [
            queue.push.eq(delayed(m, go, unit.latency, "done", is_control=True)),
            queue.payload.eq(packed(results, unit.bits)),
        ]
        return m


class RescaleStreamRtl(UnitComponent):
    """See `bitkiln.ir.units.RescaleStream`."""

    def __init__(self, unit: RescaleStream, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        m.d.comb += [self.i0.ready.eq(queue.room), go.eq(self.i0.valid & queue.room), queue.issue.eq(go)]
        beat = registered(m, self.i0.payload, "beat")
        results = [
            rescaled(m, x, unit.rescale, f"lane{n}")
            for n, x in enumerate(lanes(beat, unit.input_bits, unit.input_signed))
        ]
        m.d.comb += [
            queue.push.eq(delayed(m, go, unit.latency, "done", is_control=True)),
            queue.payload.eq(packed(results, unit.rescale.bits)),
        ]
        return m


class TopKStreamRtl(UnitComponent):
    """See `bitkiln.ir.units.TopKStream`."""

    def __init__(self, unit: TopKStream, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        (loop,) = loop_nest(m, go, (("step", unit.steps),))
        takes, gives = loop.index < unit.count, loop.index >= unit.count - 1
        m.d.comb += [
            self.i0.ready.eq(takes & (queue.room | ~gives)),
            go.eq((self.i0.valid | ~takes) & (queue.room | ~gives)),
            queue.issue.eq(go & gives),
        ]
        first = self._largest(m, go & takes, go & ~takes, loop.index)
        m.d.comb += [queue.push.eq(delayed(m, go & gives, 1, "done", is_control=True)), queue.payload.eq(first)]
        return m

    def _largest(self, m: Module, insert: Value, shift: Value, step: Value) -> Value:
        """The indices of the largest so far, in order; return the first. `shift` brings the next one there."""
        unit = self.unit
        (x,) = lanes(self.i0.payload, unit.input_bits, unit.input_signed)
        best = [Signal(x.shape(), name=f"best_{n}", reset_less=True) for n in range(unit.k)]
        index = [Signal(unit.bits, name=f"index_{n}", reset_less=True) for n in range(unit.k)]
        before: Value = Const(0)
        for n in range(unit.k):
            is_larger = (step <= n) | (x > best[n])
            with m.If(insert & is_larger):
                m.d.sync += [
                    best[n].eq(Mux(before, best[n - 1], x) if n else x),
                    index[n].eq(Mux(before, index[n - 1], step) if n else step),
                ]
            if n + 1 < unit.k:
                with m.If(shift):
                    m.d.sync += index[n].eq(index[n + 1])
            before = is_larger
        return index[0]
