"""A bill of parts: how many bits of each elementary circuit a design has, from which its resources follow."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from bitkiln.boards import Board, Family

from .memories import Memory, map_memory


class Part(Enum):
    """Elementary circuits, each counted in bits unless it says otherwise.

    WIRE_REGISTER takes a wire, LOGIC_REGISTER a function of at most four wires, GATE is that without a register.
    ADDER (with a register), SUM and COMPARATOR (without) are carry chains, CHAIN counts them. COUNTER is a loop's
    register with its adder and end. PARTIAL are bits of partial products, CONSTANT_ADDER those that a constant factor
    leaves. FULL_ADDER counts bits three to two. ROM are bits of a table in logic, PATTERN those of one with few
    different bits in a row (places, counts), RAM those of a memory of registers, LUT_RAM are cells of 16 words by 4.
    """

    WIRE_REGISTER = "wire_register"
    LOGIC_REGISTER = "logic_register"
    GATE = "gate"
    ADDER = "adder"
    SUM = "sum"
    COMPARATOR = "comparator"
    CHAIN = "chain"
    COUNTER = "counter"
    PARTIAL = "partial"
    CONSTANT_ADDER = "constant_adder"
    FULL_ADDER = "full_adder"
    XNOR = "xnor"
    SHIFTER = "shifter"
    PRODUCT_REGISTER = "product_register"
    ROM = "rom"
    PATTERN = "pattern"
    RAM = "ram"
    LUT_RAM = "lut_ram"
    MUX = "mux"
    BYPASS = "bypass"
    DELAY = "delay"
    QUEUE_BIT = "queue_bit"
    QUEUE = "queue"
    WINDOW = "window"
    SPARSE = "sparse"
    ELEMENT = "element"
    UNIT = "unit"
    LINK = "link"
    LOADER = "loader"


PARTS = tuple(Part)


@dataclass
class Bill:
    """Parts, block RAMs and multiplier blocks of a design on one board.

    `longest` is the widest carry chain, `multiplied` the most bits of a product of LUTs: what the clock depends on.
    """

    board: Board
    parts: dict[Part, float] = field(default_factory=dict)
    blocks: int = 0
    dsp: int = 0
    spram: int = 0
    longest: int = 0
    multiplied: int = 0

    @property
    def family(self) -> Family:
        return self.board.family

    def add(self, part: Part, count: float) -> None:
        """Add `count` of a part."""
        if count:
            self.parts[part] = self.parts.get(part, 0) + count

    def adders(self, count: float, bits: int, part: Part = Part.ADDER) -> None:
        """Add so many adders, each of `bits` bits; those of Part.SUM have no register."""
        self.add(part, count * bits)
        self.add(Part.CHAIN, count)
        self.longest = max(self.longest, bits) if count else self.longest

    def comparators(self, count: float, bits: int) -> None:
        """Add so many comparators, each of `bits` bits."""
        self.add(Part.COMPARATOR, count * bits)
        self.add(Part.CHAIN, count)

    def counter(self, size: int) -> None:
        """Add a counter of `size` values; of one value it is nothing."""
        self.add(Part.COUNTER, (size - 1).bit_length())

    def memory(self, memory: Memory, contents: Part = Part.ROM) -> None:
        """Add a memory as the family's synthesis maps it; its read register is the block's own."""
        mapped = map_memory(memory, self.family)
        self.blocks += mapped.blocks
        self.add(contents, mapped.rom_bits)
        self.add(Part.RAM, mapped.register_bits)
        self.add(Part.LUT_RAM, mapped.lut_rams)
        self.add(Part.MUX, mapped.muxes)
        self.add(Part.BYPASS, mapped.bypassed)
        self.add(Part.DELAY, mapped.delayed)
        if mapped.rom_bits or mapped.register_bits or mapped.lut_rams:
            self.add(Part.WIRE_REGISTER, memory.width * memory.reads)

    def merge(self, other: Bill) -> None:
        """Add all that is in another bill."""
        for part, count in other.parts.items():
            self.add(part, count)
        self.blocks += other.blocks
        self.dsp += other.dsp
        self.spram += other.spram
        self.longest = max(self.longest, other.longest)
        self.multiplied = max(self.multiplied, other.multiplied)
