"""RTL of the sparse matrix-vector unit: a scanner, a queue and a walking element for each PE, rows in and out."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory

from bitkiln.ir import Stream
from bitkiln.ir.units import Multiplier, SparseMatrixVector, Storage

from ._accumulation import Accumulation
from ._endings import Ending, RowField, joined, row_word
from ._parts import UnitComponent, delayed, lanes, packed, registered, table
from ._products import lut_product
from ._queue import Queue


@dataclass(frozen=True, eq=False)
class _Rows:
    """What loads and gives rows: which row, and whether it is loaded or given in this cycle."""

    index: Signal
    load: Signal
    give: Signal
    opens: Value


@dataclass(frozen=True, eq=False)
class _Element:
    queue: Queue
    is_open: Signal
    result: Value


class SparseMatrixVectorRtl(UnitComponent):
    """See `bitkiln.ir.units.SparseMatrixVector` for what it computes and when."""

    def __init__(self, unit: SparseMatrixVector, outputs: tuple[Stream, ...]) -> None:
        self.unit, self.dense = unit, unit.dense
        self.sums = Accumulation.of(unit.dense)
        self.ending = Ending.of(unit.dense, self.sums)
        most = int(unit.entries.counts.max())
        self.item = data.StructLayout(
            {"x": self.dense.input_bits, "count": max(1, most.bit_length()), "is_end": 1},
        )
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.dense, Module()
        (out,) = self.queues(m)
        is_closed = Signal()
        rows = self._rows(m, out.room, is_closed)
        fields = (RowField(self.sums.bits, tuple(self.sums.start.tolist())), *self.ending.fields)
        constants = self._constants(m, rows.index, fields)
        elements = [self._element(m, p, rows, constants[0][p]) for p in range(unit.pe)]
        opened: Value = Const(0)
        for element in elements:
            opened = opened | element.is_open
        m.d.comb += is_closed.eq(~opened)
        self._scanner(m, [element.queue for element in elements])
        results = []
        for p, element in enumerate(elements):
            kept = [registered(m, field[p], f"constant_{n}_{p}") for n, field in enumerate(constants[1:])]
            held = registered(m, element.result, f"held_{p}")
            results.append(self.ending.finish(m, held, kept, p))
        m.d.comb += [
            out.issue.eq(rows.give),
            out.push.eq(delayed(m, rows.give, self.unit.latency, "given", is_control=True)),
            out.payload.eq(packed(results, unit.bits)),
        ]
        return m

    def _rows(self, m: Module, room: Signal, is_closed: Signal) -> _Rows:
        """Load all rows, wait until every element has met its mark and settled, give all rows."""
        folds = self.dense.row_folds
        index, is_giving = Signal(range(folds)), Signal()
        settling, settled = Signal(), Signal()
        load, give = Signal(), Signal()
        is_last = index == folds - 1
        m.d.comb += [load.eq(~is_giving), give.eq(is_giving & room & ((index != 0) | settled))]
        m.d.sync += [settling.eq(is_giving & is_closed), settled.eq(settling & is_giving & is_closed)]
        with m.If(load | give):
            m.d.sync += index.eq(Mux(is_last, 0, index + 1))
            with m.If(is_last):
                m.d.sync += is_giving.eq(~is_giving)
        return _Rows(index, load, give, load & is_last)

    def _constants(self, m: Module, index: Signal, fields: tuple[RowField, ...]) -> list[list[Value]]:
        """[field][element] of the row that was loaded or given in the cycle before."""
        unit = self.dense
        words = [row_word(fields, unit.pe, number) for number in range(unit.row_folds)]
        width = unit.pe * sum(field.bits for field in fields)
        m.submodules.rows = memory = Memory(shape=unsigned(width), depth=len(words), init=words)
        read = memory.read_port(domain="sync")
        m.d.comb += read.addr.eq(index)
        found, offset = [], 0
        for field in fields:
            found.append(lanes(read.data[offset : offset + unit.pe * field.bits], field.bits, False))
            offset += unit.pe * field.bits
        return found

    def _scanner(self, m: Module, queues: list[Queue]) -> None:
        """Send the lanes of each beat to all queues, one a cycle, and the mark behind the last beat of a vector."""
        unit, counts = self.dense, self.unit.entries.counts
        go, is_end = Signal(), Signal()
        lane, column = Signal(range(unit.simd)), Signal(range(unit.columns + 1))
        room: Value = Const(1)
        for queue in queues:
            room = room & Mux(column == 0, queue.is_idle, queue.room)
        is_last_lane = lane == unit.simd - 1
        m.d.comb += [
            is_end.eq(column == unit.columns),
            go.eq(room & (self.i0.valid | is_end)),
            self.i0.ready.eq(room & is_last_lane & ~is_end),
        ]
        with m.If(go):
            m.d.sync += column.eq(Mux(is_end, 0, column + 1))
            with m.If(~is_end):
                m.d.sync += lane.eq(Mux(is_last_lane, 0, lane + 1))
        bits = self.item["count"].width
        words = [joined(row, bits) for row in counts.tolist()] + [0]
        m.submodules.counts = memory = Memory(shape=unsigned(unit.pe * bits), depth=len(words), init=words)
        read = memory.read_port(domain="sync")
        x = registered(m, self.i0.payload.word_select(lane, unit.input_bits), "x")
        was_end = registered(m, is_end, "was_end")
        sent = delayed(m, go, 1, "sent", is_control=True)
        m.d.comb += read.addr.eq(column)
        for p, queue in enumerate(queues):
            item = Cat(x, read.data[p * bits : (p + 1) * bits], was_end)
            m.d.comb += [queue.issue.eq(go), queue.push.eq(sent), queue.payload.eq(item)]

    def _element(self, m: Module, p: int, rows: _Rows, start: Value) -> _Element:
        """Queue, walk, decode, multiply, accumulate: four stages behind the step that names an entry."""
        unit = self.unit
        depth = unit.queue_places
        m.submodules[f"queue_{p}"] = queue = Queue(self.item.size, depth, unit.queue_latency > 2)
        item = self.item(queue.o.payload)
        is_open, left, x = Signal(name=f"open_{p}"), Signal(len(item.count), name=f"left_{p}"), Signal(len(item.x))
        takes, walks = Signal(name=f"takes_{p}"), Signal(name=f"walks_{p}")
        m.d.comb += [
            queue.o.ready.eq(is_open & (left == 0)),
            takes.eq(queue.o.valid & queue.o.ready),
            walks.eq((left != 0) | (takes & (item.count != 0))),
        ]
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(takes):
            m.d.sync += [left.eq(Mux(item.count != 0, item.count - 1, 0)), x.eq(item.x)]
            with m.If(item.is_end):
                m.d.sync += is_open.eq(0)
        with m.If(rows.opens):
            m.d.sync += is_open.eq(1)
        weight, row, valid = self._entry(m, p, walks, takes)
        value = x.as_signed() if self.dense.input_signed else x
        operand = registered(m, value, f"operand_{p}")
        is_dsp = self.dense.multiplier is Multiplier.DSP
        product = registered(m, operand * weight if is_dsp else lut_product(operand, weight), f"product_{p}")
        return _Element(queue, is_open, self._accumulate(m, p, (row, product, valid), rows, start))

    def _entry(self, m: Module, p: int, walks: Signal, takes: Signal) -> tuple[Value, Signal, Value]:
        """Weight and row of the entry named two cycles before, and whether there was one."""
        unit, entries = self.unit, self.unit.entries
        gaps, codes = entries.gaps[p] or (0,), entries.codes[p] or (0,)
        is_indexed = unit.index_bits < self.dense.weight_bits
        fields = [unit.codebook.index(code) for code in codes] if is_indexed else codes
        words = [
            joined((gap,), unit.gap_bits) | joined((field,), unit.index_bits) << unit.gap_bits
            for gap, field in zip(gaps, fields, strict=True)
        ]
        style = "block" if self.dense.storage is Storage.BLOCK else "logic"
        m.submodules[f"entries_{p}"] = memory = Memory(
            shape=unsigned(unit.entry_bits),
            depth=len(words),
            init=words,
            attrs={"rom_style": style, "ram_style": style},
        )
        read, address = memory.read_port(domain="sync"), Signal(range(len(words)), name=f"address_{p}")
        m.d.comb += read.addr.eq(address)
        with m.If(walks):
            m.d.sync += address.eq(Mux(address == len(words) - 1, 0, address + 1))
        valid = delayed(m, walks, 1, f"walked_{p}", is_control=True)
        is_first = delayed(m, takes, 1, f"took_{p}", is_control=True)
        gap, field = read.data[: unit.gap_bits], read.data[unit.gap_bits :]
        row = Signal(range(self.dense.row_folds), name=f"row_{p}", reset_less=True)
        with m.If(valid):
            m.d.sync += row.eq(Mux(is_first, gap, row + 1 + gap))
        index = Signal(unit.index_bits, name=f"index_{p}")
        m.d.comb += index.eq(field)
        code = table(m, index, unit.codebook, f"weight_{p}") if is_indexed else field.as_signed()
        decoded = Signal(signed(self.dense.weight_bits), name=f"decoded_{p}", reset_less=True)
        m.d.sync += decoded.eq(code)
        return decoded, row, delayed(m, valid, 1, f"decoded_valid_{p}", is_control=True)

    def _accumulate(self, m: Module, p: int, term: tuple[Signal, Value, Value], rows: _Rows, start: Value) -> Value:
        """Read, add and write in two cycles, with what was just written; return what is read while rows are given."""
        row, product, valid = term
        bits, folds = self.sums.bits, self.dense.row_folds
        m.submodules[f"accumulators_{p}"] = memory = Memory(shape=signed(bits), depth=folds, init=[])
        write = memory.write_port()
        read = memory.read_port(domain="sync", transparent_for=(write,))
        is_loading = delayed(m, rows.load, 1, f"loading_{p}", is_control=True)
        target, is_sum = registered(m, row, f"target_{p}"), delayed(m, valid, 1, f"sum_{p}", is_control=True)
        loaded = registered(m, rows.index, f"loaded_{p}")
        m.d.comb += [
            read.addr.eq(Mux(rows.give, rows.index, row)),
            write.addr.eq(Mux(is_loading, loaded, target)),
            write.data.eq(Mux(is_loading, start.as_signed(), read.data + product)),
            write.en.eq(is_loading | is_sum),
        ]
        return read.data
