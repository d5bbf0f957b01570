"""Memories that the host fills: block RAM, or the large RAMs of an iCE40 UP5K, written 16 bits at a time.

The host's data come in one order, memory after memory: each counts its own columns and words, and when it is full, the
next takes over. So there are no addresses to decode and no registers as wide as a word.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.vendor import SiliconBluePlatform

from bitkiln.ir.units import COLUMN_BITS, SPRAM_WORDS, column_widths

from ._parts import loop_nest

LOAD_BUS = wiring.Signature(
    {"start": Out(1), "valid": Out(1), "data": Out(COLUMN_BITS), "target": Out(1), "active": Out(1)}
)
"""`start` begins a set of weights for the bank `target`; each cycle with `valid` brings its next 16 bits. `active` is
the bank that is read.
"""

MEMORY_PREFIX = "loaded_"
"""Of the names of memories that are never read while they are written; see `family_tools`."""


class LoadedMemory(wiring.Component):
    """`depth` words of `width` bits a bank; `data` is the word at `address`, one cycle later.

    It takes the data of `load` once `is_mine` is high, and raises `is_full` after its last word, until the next start.
    What it holds is not defined before, and what it gives is not while it is written.
    """

    def __init__(self, depth: int, width: int, banks: int, *, is_big: bool) -> None:
        self.depth, self.width, self.banks, self.is_big = depth, width, banks, is_big
        super().__init__(
            {
                "load": In(LOAD_BUS),
                "is_mine": In(1),
                "is_full": Out(1),
                "address": In(range(depth)),
                "data": Out(unsigned(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m, widths = Module(), column_widths(self.width)
        takes = Signal()
        m.d.comb += takes.eq(self.load.valid & self.is_mine & ~self.is_full)
        column, word = loop_nest(m, takes, (("load_column", len(widths)), ("load_word", self.depth)))
        with m.If(self.load.start):
            m.d.sync += [column.index.eq(0), word.index.eq(0), self.is_full.eq(0)]
        with m.Elif(takes & column.is_last & word.is_last):
            m.d.sync += self.is_full.eq(1)
        read, write = self._place(self.address, self.load.active), self._place(word.index, self.load.target)
        columns: list[Value] = []
        for number, bits in enumerate(widths):
            is_written = takes & (column.index == number) if len(widths) > 1 else takes
            ports = (read, write, self.load.data[:bits], is_written)
            is_spram = self.is_big and isinstance(platform, SiliconBluePlatform)
            columns.append(self._big(m, number, *ports) if is_spram else self._block(m, number, *ports))
        m.d.comb += self.data.eq(Cat(*columns))
        return m

    @property
    def _bank_bits(self) -> int:
        return (self.depth - 1).bit_length()

    @property
    def _places(self) -> int:
        return ((self.banks - 1) << self._bank_bits) + self.depth

    def _place(self, word: Value, bank: Value) -> Value:
        return Cat(word, Const(0, self._bank_bits - len(word)), bank) if self.banks > 1 else word

    def _block(self, m: Module, number: int, read: Value, write: Value, data: Value, is_written: Value) -> Value:
        # Amaranth gives a memory of one row an address of no bits, which yosys does not read.
        memory = Memory(shape=unsigned(len(data)), depth=max(self._places, 2), init=[])
        m.submodules[f"{MEMORY_PREFIX}{number}"] = memory
        write_port, read_port = memory.write_port(), memory.read_port(domain="sync")
        m.d.comb += [
            write_port.addr.eq(write),
            write_port.data.eq(data),
            write_port.en.eq(is_written),
            read_port.addr.eq(read),
            read_port.en.eq(~is_written),
        ]
        return read_port.data

    def _big(self, m: Module, number: int, read: Value, write: Value, data: Value, is_written: Value) -> Value:
        """As many RAMs as the column has words for; their one port writes or reads."""
        blocks = -(-self._places // SPRAM_WORDS)
        place = Signal(range(blocks * SPRAM_WORDS), name=f"place_{number}")
        m.d.comb += place.eq(Mux(is_written, write, read))
        low, block = place[: (SPRAM_WORDS - 1).bit_length()], place[(SPRAM_WORDS - 1).bit_length() :]
        found = [Signal(COLUMN_BITS, name=f"found_{number}_{n}") for n in range(blocks)]
        for n, output in enumerate(found):
            m.submodules[f"big_{number}_{n}"] = Instance(
                "SB_SPRAM256KA",
                i_ADDRESS=low,
                i_DATAIN=data if len(data) == COLUMN_BITS else Cat(data, Const(0, COLUMN_BITS - len(data))),
                i_MASKWREN=Const(0b1111, 4),
                i_WREN=is_written & (block == n if blocks > 1 else 1),
                i_CHIPSELECT=Const(1, 1),
                i_CLOCK=ClockSignal("sync"),
                i_STANDBY=Const(0, 1),
                i_SLEEP=Const(0, 1),
                i_POWEROFF=Const(1, 1),  # active low
                o_DATAOUT=output,
            )
        return _chosen(m, found, block)[: len(data)]


def _chosen(m: Module, found: Sequence[Signal], block: Value) -> Value:
    """What the block gives that was addressed a cycle before."""
    result: Value = found[0]
    if len(found) > 1:
        was = Signal(len(block))
        m.d.sync += was.eq(block)
        for n, output in enumerate(found[1:], 1):
            result = Mux(was == n, output, result)
    return result
