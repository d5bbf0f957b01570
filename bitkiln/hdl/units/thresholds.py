"""RTL of thresholds as a unit of their own."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal, Value, unsigned
from amaranth.lib.memory import Memory

from bitkiln.ir import Int, Stream
from bitkiln.ir.units import ThresholdStream

from ._endings import RowField, compared, pair_numbers, row_word
from ._parts import UnitComponent, delayed, lanes, loop_nest, packed, registered


class ThresholdStreamRtl(UnitComponent):
    """See `bitkiln.ir.units.ThresholdStream`."""

    def __init__(self, unit: ThresholdStream, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        go = Signal()
        m.d.comb += [self.i0.ready.eq(queue.room), go.eq(self.i0.valid & queue.room), queue.issue.eq(go)]
        fields, thresholds = self._fields(), unit.thresholds
        constants = self._constants(m, go, fields)
        beat = lanes(registered(m, self.i0.payload, "beat"), unit.input.bits, unit.input.signed)
        results: list[Value] = []
        for n, x in enumerate(beat):
            first, choice, *rest = (field[n] for field in constants)
            distance = registered(m, x - first.as_signed(), f"distance_{n}")
            choice, *rest = (registered(m, value, f"constant_{n}_{i}") for i, value in enumerate((choice, *rest)))
            results.append(compared(m, distance, rest, choice, (thresholds, unit.output), f"lane_{n}"))
        m.d.comb += [
            queue.push.eq(delayed(m, go, unit.latency, "done", is_control=True)),
            queue.payload.eq(packed(results, unit.output.bits)),
        ]
        return m

    def _fields(self) -> tuple[RowField, ...]:
        """First threshold, pair of base and step, distances of the other thresholds from the first."""
        values, pairs = self.unit.thresholds.values, pair_numbers(self.unit.thresholds)
        columns = [values[:, 0], *(values[:, n] - values[:, 0] for n in range(1, values.shape[1]))]
        first, *rest = (
            RowField(Int.holding(int(column.min()), int(column.max()), signed=True).bits, tuple(column.tolist()))
            for column in columns
        )
        return (first, RowField(max(pairs).bit_length(), tuple(pairs)), *rest)

    def _constants(self, m: Module, go: Signal, fields: tuple[RowField, ...]) -> list[list[Value]]:
        """[field][lane] of a step, one cycle later."""
        lanes_, rows = self.unit.input.lanes, len(self.unit.thresholds.values)
        rounds = rows // lanes_
        words = [row_word(fields, lanes_, number) for number in range(rounds)]
        width = lanes_ * sum(field.bits for field in fields)
        word: Value = Const(words[0], width)
        if rounds > 1:
            m.submodules.rows = memory = Memory(shape=unsigned(width), depth=rounds, init=words)
            read = memory.read_port(domain="sync")
            (loop,) = loop_nest(m, go, (("round", rounds),))
            m.d.comb += read.addr.eq(loop.index)
            word = read.data
        found, offset = [], 0
        for field in fields:
            end = offset + lanes_ * field.bits
            found.append([word[offset + n * field.bits : offset + (n + 1) * field.bits] for n in range(lanes_)])
            offset = end
        return found
