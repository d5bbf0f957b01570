"""How yosys maps a memory: to block RAMs, to LUTs used as RAM, or to logic; the rules of its pass memory_libmap.

For each kind of RAM it takes the data width of least cost, then the cheapest kind, unless registers and LUTs cost less.
The costs are those of the pass and of the families' libraries (ice40/brams.txt, lattice/brams_16kd.txt,
lattice/lutrams_trellis.txt, gowin/brams.txt and lutrams.txt in yosys 0.70), so the number of blocks is exact; a test
compares it with synthesis.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bitkiln.boards import Family

_MUX, _DEMUX, _EMULATION = 0.5, 0.5, 2
_ROM_BIT, _RAM_BIT = 1 / 16, 1.0


class Style(Enum):
    """What the design asks for: nothing, block RAM, or logic."""

    AUTO = "auto"
    BLOCK = "block"
    LOGIC = "logic"


@dataclass(frozen=True)
class Memory:
    """A memory with `reads` clocked read ports and at most one write port.

    A `transparent` port gives what is written in the same cycle, another one what was there before.
    """

    depth: int
    width: int
    reads: int = 1
    is_written: bool = False
    is_transparent: bool = False
    style: Style = Style.AUTO

    @property
    def bits(self) -> int:
        return self.depth * self.width


@dataclass(frozen=True)
class Mapped:
    """What became of a memory: `blocks` of RAM and `lut_rams` of 16 words by 4 bits, else logic of its own bits.

    `muxes` are bits of two-way multiplexers behind the blocks, `bypassed` the bits of words that must be compared and
    passed by, `delayed` the bits of a write port that comes a cycle later.
    """

    blocks: int = 0
    lut_rams: int = 0
    rom_bits: int = 0
    register_bits: int = 0
    muxes: int = 0
    bypassed: int = 0
    delayed: int = 0


@dataclass(frozen=True)
class _Ram:
    """A kind of block: address bits at the narrowest width, widths, the cost of one, the granularity of writing.

    `least_write` is the narrowest width of a memory that is written, `read_ports` how many a ROM may have.
    """

    address_bits: int
    widths: tuple[int, ...]
    cost: int
    write_unit: int
    least_write: int
    read_ports: int


_RAMS: dict[Family, tuple[_Ram, ...]] = {
    Family.ICE40: (_Ram(11, (2, 4, 8, 16), 64, 1, 2, 1),),
    Family.ECP5: (
        _Ram(14, (1, 2, 4, 9, 18), 128, 9, 1, 2),
        _Ram(14, (1, 2, 4, 9, 18, 36), 128, 9, 9, 1),
    ),
    Family.GOWIN: (
        _Ram(14, (1, 2, 4, 9, 18), 128, 9, 1, 2),
        _Ram(14, (1, 2, 4, 9, 18, 36), 128, 9, 1, 1),
    ),
}
_HAS_LUT_RAM = {Family.ECP5, Family.GOWIN}
_COUNTS_USED_BITS = {Family.GOWIN}
"""Whose library has the attribute `widthscale`: a cell of which bits are left over costs less."""
_LUT_RAM_WORDS, _LUT_RAM_BITS, _LUT_RAM_COST = 16, 4, 4


def map_memory(memory: Memory, family: Family) -> Mapped:
    """Return what yosys makes of `memory`; one of no bits, or of one word, is none."""
    if memory.bits == 0 or (memory.depth == 1 and not memory.is_written):
        return Mapped()
    found = [] if memory.style is Style.LOGIC else [_blocks(memory, ram) for ram in _RAMS[family]]
    if memory.style is Style.AUTO and memory.is_written and family in _HAS_LUT_RAM:
        found.append(_lut_rams(memory, family))
    cost, mapped = min(found, key=lambda candidate: candidate[0], default=(0.0, Mapped()))
    logic_cost = memory.bits * (_RAM_BIT if memory.is_written else _ROM_BIT)
    if memory.style is Style.LOGIC or (memory.style is Style.AUTO and logic_cost <= cost):
        return _logic(memory)
    return mapped


def _logic(memory: Memory) -> Mapped:
    if memory.is_written:
        return Mapped(register_bits=memory.bits, bypassed=memory.width if memory.is_transparent else 0)
    return Mapped(rom_bits=memory.bits * memory.reads)


def _emulation(memory: Memory) -> int:
    """Points for what blocks do not do by themselves when a word is read and written at once, one a read port."""
    if not memory.is_written:
        return memory.reads
    return memory.reads + (3 if memory.is_transparent else 6)


def _blocks(memory: Memory, ram: _Ram) -> tuple[float, Mapped]:
    replicas = memory.reads if memory.is_written else -(-memory.reads // ram.read_ports)
    best: tuple[float, Mapped] | None = None
    for index, width in enumerate(ram.widths):
        if memory.is_written and width < ram.least_write:
            continue
        unit = min(ram.write_unit, width) if memory.is_written else 1
        word = -(-memory.width // unit) * unit
        banks = -(-memory.depth // (1 << (ram.address_bits - index)))
        blocks = -(-banks * word // width)
        muxes = (banks - 1) * memory.width * memory.reads
        cost = ram.cost * blocks * replicas + _MUX * muxes + _EMULATION * _emulation(memory)
        cost += _DEMUX * banks if memory.is_written and banks > 1 else 0
        if best is None or cost < best[0]:
            delayed = memory.width + _address_bits(memory) + 1 if not memory.is_transparent else 0
            is_bypassed = memory.is_written
            mapped = Mapped(
                blocks=blocks * replicas,
                muxes=muxes,
                bypassed=memory.width * memory.reads if is_bypassed else 0,
                delayed=delayed if is_bypassed else 0,
            )
            best = (float(int(cost)), mapped)  # the pass keeps whole numbers
    assert best is not None, "every kind of RAM has a width"
    return best


def _lut_rams(memory: Memory, family: Family) -> tuple[float, Mapped]:
    banks = -(-memory.depth // _LUT_RAM_WORDS)
    cells = banks * -(-memory.width // _LUT_RAM_BITS)
    muxes = (banks - 1) * memory.width * memory.reads
    counted = -(-banks * memory.width // _LUT_RAM_BITS) if family in _COUNTS_USED_BITS else cells
    cost = _LUT_RAM_COST * counted * memory.reads + _MUX * muxes
    cost += _EMULATION * memory.reads * (4 if memory.is_transparent else 1)
    cost += _DEMUX * banks if banks > 1 else 0
    bypassed = memory.width * memory.reads if memory.is_transparent else 0
    return cost, Mapped(lut_rams=cells * memory.reads, muxes=muxes, bypassed=bypassed)


def _address_bits(memory: Memory) -> int:
    return (memory.depth - 1).bit_length()
