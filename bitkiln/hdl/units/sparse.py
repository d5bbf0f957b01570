"""RTL of the sparse matrix-vector unit: a scanner, a queue and a walking element for each PE, rows in and out."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory

from bitkiln.ir import Stream
from bitkiln.ir.units import Accumulation, Multiplier, SparseMatrixVector, Storage

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
        most, longest = int(unit.entries.counts.max()), max(len(codes) for codes in unit.entries.codes)
        self.item = data.StructLayout(
            {
                "x": self.dense.input_bits,
                "count": max(1, most.bit_length()),
                "begin": max(1, longest.bit_length()) if unit.skip_zeros else 0,
                "is_end": 1,
            }
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
        """Send the inputs of each beat to all queues, one a cycle, and the mark behind the last beat of a vector."""
        unit = self.dense
        go, is_end, sends = Signal(), Signal(), Signal()
        beat, is_first = Signal(range(unit.column_folds + 1)), Signal(init=1)
        lane, is_last = self._lane(m, go & ~is_end, sends)
        room, idle = Const(1), Const(1)
        for queue in queues:
            room, idle = room & queue.room, idle & queue.is_idle
        may_send = Mux(is_first, idle, room | ~(sends | is_end))
        m.d.comb += [
            is_end.eq(beat == unit.column_folds),
            go.eq(may_send & (self.i0.valid | is_end)),
            self.i0.ready.eq(may_send & is_last & ~is_end),
        ]
        with m.If(go):
            m.d.sync += is_first.eq(is_end)
            with m.If(is_end | is_last):
                m.d.sync += beat.eq(Mux(is_end, 0, beat + 1))
        column = Signal(range(unit.columns + unit.simd))
        m.d.comb += column.eq(beat * unit.simd + Mux(is_end, 0, lane))
        begin, count = (self.item[name].width for name in ("begin", "count"))
        memory = self._columns(m, column, count, begin)
        x = registered(m, self.i0.payload.word_select(lane, unit.input_bits), "x")
        was_end = registered(m, is_end, "was_end")
        issue = go & (sends | is_end)
        sent = delayed(m, issue, 1, "sent", is_control=True)
        for p, queue in enumerate(queues):
            item = Cat(x, memory[p * (count + begin) : (p + 1) * (count + begin)], was_end)
            m.d.comb += [queue.issue.eq(issue), queue.push.eq(sent), queue.payload.eq(item)]

    def _lane(self, m: Module, step: Value, sends: Signal) -> tuple[Signal, Value]:
        """The lane of the step, and whether it is the beat's last; drives `sends`."""
        unit = self.dense
        lane = Signal(range(unit.simd))
        if not self.unit.skip_zeros:
            is_last: Value = lane == unit.simd - 1
            m.d.comb += sends.eq(1)
            with m.If(step):
                m.d.sync += lane.eq(Mux(is_last, 0, lane + 1))
            return lane, is_last
        done, live = Signal(unit.simd), Signal(unit.simd)
        for n, x in enumerate(lanes(self.i0.payload, unit.input_bits, False)):
            m.d.comb += live[n].eq((x != 0) & ~done[n])
        for n in reversed(range(unit.simd)):
            with m.If(live[n]):
                m.d.comb += lane.eq(n)
        rest = live & (live - 1)[: unit.simd]
        m.d.comb += sends.eq(live != 0)
        with m.If(step):
            m.d.sync += done.eq(Mux(rest == 0, 0, done | (live & ~rest)))
        return lane, rest == 0

    def _columns(self, m: Module, column: Signal, count_bits: int, begin_bits: int) -> Value:
        """How many entries each element has in a column, and where they begin; for the mark 0."""
        counts = self.unit.entries.counts
        begins = counts.cumsum(0) - counts if begin_bits else counts * 0
        pairs = [
            [count | begin << count_bits for count, begin in zip(*row, strict=True)]
            for row in zip(counts.tolist(), begins.tolist(), strict=True)
        ]
        words = [joined(row, count_bits + begin_bits) for row in pairs] + [0]
        width = self.dense.pe * (count_bits + begin_bits)
        m.submodules.columns = memory = Memory(shape=unsigned(width), depth=len(words), init=words)
        read = memory.read_port(domain="sync")
        m.d.comb += read.addr.eq(column)
        return read.data

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
        begin = item.begin if unit.skip_zeros else None
        weight, row, valid = self._entry(m, p, walks, takes, begin)
        value = x.as_signed() if self.dense.input_signed else x
        operand = registered(m, value, f"operand_{p}")
        is_dsp = self.dense.multiplier is Multiplier.DSP
        product = registered(m, operand * weight if is_dsp else lut_product(operand, weight), f"product_{p}")
        return _Element(queue, is_open, self._accumulate(m, p, (row, product, valid), rows, start))

    def _entry(
        self, m: Module, p: int, walks: Signal, takes: Signal, begin: Value | None
    ) -> tuple[Value, Signal, Value]:
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
        here = address if begin is None else Mux(takes, begin, address)
        m.d.comb += read.addr.eq(here)
        with m.If(walks):
            m.d.sync += address.eq(Mux(here == len(words) - 1, 0, here + 1))
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
