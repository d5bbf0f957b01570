"""RTL of the sliding-window generator: a ring of rows, a writer, and a reader that walks by adding constants."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.memory import Memory

from bitkiln.ir import Stream
from bitkiln.ir.units import Window

from ._parts import Loop, UnitComponent, delayed, loop_nest, registered, table


@dataclass(frozen=True, eq=False)
class _Nest:
    """The reader's loops, innermost first, and when a window and a row of windows end."""

    beat: Loop
    column: Loop
    row: Loop
    group: Loop
    x: Loop
    y: Loop

    @property
    def ends_kernel(self) -> Value:
        return self.beat.is_last & self.column.is_last & self.row.is_last

    @property
    def ends_window(self) -> Value:
        return self.ends_kernel & self.group.is_last

    @property
    def ends_row(self) -> Value:
        return self.ends_window & self.x.is_last

    @property
    def starts_window(self) -> Value:
        return self.beat.is_first & self.column.is_first & self.row.is_first & self.group.is_first


class WindowRtl(UnitComponent):
    """See `bitkiln.ir.units.Window` for what it computes and when."""

    def __init__(self, unit: Window, outputs: tuple[Stream, ...]) -> None:
        self.unit = unit
        self.ring_beats = unit.buffer_rows * unit.row_beats
        super().__init__(unit, outputs)

    def elaborate(self, platform: object) -> Module:
        unit, m = self.unit, Module()
        (queue,) = self.queues(m)
        width = unit.inputs[0].width
        m.submodules.ring = ring = Memory(shape=unsigned(width), depth=self.ring_beats, init=[])
        write, read = ring.write_port(), ring.read_port(domain="sync")
        wrote, go = Signal(), Signal()
        nest = self._nest(m, go)
        self._writer(m, wrote, go, nest)
        m.d.comb += [write.en.eq(wrote), write.data.eq(self.i0.payload)]
        position = Signal(range(self.ring_beats))
        m.d.comb += write.addr.eq(position)
        with m.If(wrote):
            m.d.sync += position.eq(Mux(position == self.ring_beats - 1, 0, position + 1))

        m.d.comb += [go.eq(queue.room & self._may_read(m, wrote, go, nest)), queue.issue.eq(go)]
        address, is_padding = self._address(m, go, nest)
        m.d.comb += [
            read.addr.eq(registered(m, address, "address")),
            queue.push.eq(delayed(m, go, 2, "go", is_control=True)),
        ]
        padding = delayed(m, is_padding, 2, "padding")
        given = unit.outputs[0]
        pad_word = sum(given.field(unit.pad_code) << (n * given.bits) for n in range(unit.lanes))
        found = Cat(*(Cat(Const(1, 1), ~bit) for bit in read.data)) if unit.widens else read.data
        m.d.comb += queue.payload.eq(Mux(padding, Const(pad_word, given.width), found))
        return m

    def _nest(self, m: Module, go: Signal) -> _Nest:
        unit = self.unit
        sizes = (
            ("beat", unit.beats_per_pixel // unit.groups),
            ("kernel_column", unit.kernel[1]),
            ("kernel_row", unit.kernel[0]),
            ("group", unit.groups),
            ("x", unit.output_size[1]),
            ("y", unit.output_size[0]),
        )
        return _Nest(*loop_nest(m, go, sizes))

    def _writer(self, m: Module, wrote: Signal, go: Signal, nest: _Nest) -> None:
        """Accept a beat while the ring has space; rows come free one cycle after the reader ends an output row."""
        unit = self.unit
        most = self.ring_beats + unit.height * unit.row_beats
        space, freed = Signal(range(most + 1), init=self.ring_beats), Signal(range(unit.height * unit.row_beats + 1))
        rows = [b - a for a, b in zip(unit.first_rows, unit.first_rows[1:], strict=False)]
        rows[0] += unit.first_rows[0]
        amount = table(m, nest.y.index, [count * unit.row_beats for count in rows], "row_release")
        m.d.comb += [self.i0.ready.eq(space != 0), wrote.eq(self.i0.valid & self.i0.ready)]
        m.d.sync += [freed.eq(Mux(go & nest.ends_row, amount, 0)), space.eq(space + freed - wrote)]

    def _may_read(self, m: Module, wrote: Signal, go: Signal, nest: _Nest) -> Value:
        """A window starts when the beats that it needs beyond the previous window are written."""
        needed = self.unit.needed_beats
        total = self.unit.height * self.unit.row_beats
        unneeded = total - int(needed[-1, -1])
        rows = [int(needed[0, 0]) + unneeded, *(int(needed[y, 0] - needed[y - 1, -1]) for y in range(1, len(needed)))]
        columns = [0, *(int(a) for a in needed[0, 1:] - needed[0, :-1])]
        moves = [int(needed[y, -1] > needed[y, 0]) for y in range(len(needed))]
        row_need, column_need = table(m, nest.y.index, rows, "row_need"), table(m, nest.x.index, columns, "column_need")
        is_moving = table(m, nest.y.index, moves, "is_moving")
        need = Mux(nest.x.is_first, row_need, Mux(is_moving, column_need, 0))
        level = Signal(range(2 * total + self.ring_beats + 1), init=unneeded)
        m.d.sync += level.eq(level + wrote - Mux(go & nest.starts_window, need, 0))
        return ~nest.starts_window | (level >= need)

    def _address(self, m: Module, go: Signal, nest: _Nest) -> tuple[Value, Value]:
        """Ring address of the step's beat, and whether it lies outside the map."""
        unit = self.unit
        ring_row = self._ring_row(m, go, nest)
        column, row = self._walk(m, go, nest, 1), self._walk(m, go, nest, 0)
        outside = (row < 0) | (row >= unit.height) | (column < 0) | (column >= unit.width)
        group_beats = unit.beats_per_pixel // unit.groups
        channel = nest.beat.index + nest.group.index * group_beats if unit.groups > 1 else nest.beat.index
        address = Signal(range(self.ring_beats))
        m.d.comb += address.eq(ring_row + column * unit.beats_per_pixel + channel)
        return address, outside

    def _walk(self, m: Module, go: Signal, nest: _Nest, axis: int) -> Signal:
        """Coordinate of the step's element along one axis."""
        unit = self.unit
        kernel, position = (nest.row, nest.y) if axis == 0 else (nest.column, nest.x)
        inner = nest.beat.is_last & (nest.column.is_last if axis == 0 else Const(1))
        moves = nest.ends_row if axis == 0 else nest.ends_window
        farthest = max(unit.output_size[axis] * unit.stride[axis] + unit.span[axis], 1)
        bits = 1 + max(farthest.bit_length(), unit.padding[axis].bit_length())
        start, here, following = (
            Signal(signed(bits), name=f"{name}_{axis}", init=-unit.padding[axis]) for name in ("start", "here", "next")
        )
        m.d.comb += following.eq(Mux(position.is_last, -unit.padding[axis], start + unit.stride[axis]))
        with m.If(go & moves):
            m.d.sync += [start.eq(following), here.eq(following)]
        with m.Elif(go & inner):
            m.d.sync += here.eq(Mux(kernel.is_last, start, here + unit.dilation[axis]))
        return here

    def _ring_row(self, m: Module, go: Signal, nest: _Nest) -> Signal:
        """Ring address of the first beat of the step's row; rows outside the map have one too, which is not used."""
        unit, beats = self.unit, self.unit.row_beats
        rows = unit.buffer_rows
        origin = (-unit.padding[0] % rows) * beats
        top, here, following = (
            Signal(range(self.ring_beats), name=name, init=origin) for name in ("ring_top", "ring_here", "ring_next")
        )
        to_next_image = (unit.height - (unit.output_size[0] - 1) * unit.stride[0]) % rows
        steps = Mux(nest.y.is_last, to_next_image * beats, unit.stride[0] * beats)
        m.d.comb += following.eq(self._wrapped(m, top + steps, "ring_next_sum"))
        with m.If(go & nest.ends_row):
            m.d.sync += [top.eq(following), here.eq(following)]
        with m.Elif(go & nest.beat.is_last & nest.column.is_last):
            below = self._wrapped(m, here + unit.dilation[0] * beats, "ring_below_sum")
            m.d.sync += here.eq(Mux(nest.row.is_last, top, below))
        return here

    def _wrapped(self, m: Module, value: Value, name: str) -> Value:
        total = Signal(unsigned((2 * self.ring_beats).bit_length()), name=name)
        m.d.comb += total.eq(value)
        return Mux(total >= self.ring_beats, total - self.ring_beats, total)
