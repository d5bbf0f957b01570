"""What is counted before anything is priced: operations with their operand widths, accesses with their memory.

Counts are facts of a design, prices are facts of a technology; `bitkiln.sim.energy` is the only place where they meet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Operation(Enum):
    """What an arithmetic circuit does."""

    MULTIPLY = "multiply"
    ADD = "add"
    COMPARE = "compare"
    FLOAT_MULTIPLY = "float multiply"
    FLOAT_ADD = "float add"
    LOGIC = "logic"  # one gate a bit


class Purpose(Enum):
    """What an operation is for."""

    PRODUCT = "product"  # of a weight and an activation
    FILLER = "filler"  # a product with a zero that is stored because an index cannot say more
    ADDRESS = "address"
    TREE = "adder tree"  # adds the products of one step
    ACCUMULATE = "accumulate"
    REDUCE = "reduce"  # pooling, arg-max
    JOIN = "join"  # sum of two streams
    RESCALE = "rescale"  # multiplier, rounding and limits of a requantisation


class Level(Enum):
    """What kind of memory a bit is kept in; it decides which price applies."""

    REGISTER = "register"
    SRAM = "sram"
    NETWORK = "network"  # wires between a buffer and the processing elements
    DRAM = "dram"


class Role(Enum):
    """What a memory is for."""

    WEIGHTS = "weights"
    ROW_CONSTANTS = "row constants"  # biases and shift selectors
    LINE_BUFFER = "line buffer"
    REPLAY_BUFFER = "replay buffer"
    QUEUE = "queue"
    ACCUMULATOR = "accumulator"
    HELD_BEAT = "held beat"  # of a width converter
    HOST_LINK = "host link"  # off chip
    ACTIVATIONS = "activations"
    PARTIAL_SUMS = "partial sums"
    OUTPUTS = "outputs"
    INDICES = "indices"  # which values are not zero
    POINTERS = "pointers"  # where a column begins
    CODEBOOK = "codebook"


@dataclass(frozen=True)
class Arithmetic:
    """`count` operations whose operands have `bits` bits."""

    operation: Operation
    purpose: Purpose
    bits: tuple[int, int]
    count: int


@dataclass(frozen=True)
class Memory:
    """One memory: `capacity_bits` is 0 for what lies off the chip, `word_bits` is the width of an access."""

    name: str
    level: Level
    role: Role
    capacity_bits: int
    word_bits: int


@dataclass(frozen=True)
class Access:
    """`reads` and `writes` of whole words of one memory."""

    memory: Memory
    reads: int
    writes: int

    @property
    def read_bits(self) -> int:
        return self.reads * self.memory.word_bits

    @property
    def written_bits(self) -> int:
        return self.writes * self.memory.word_bits

    @property
    def bits(self) -> int:
        """Bits read and written."""
        return self.read_bits + self.written_bits


@dataclass(frozen=True)
class Counts:
    """Operations and accesses. `merged` joins those that are alike; the order is always the same.

    >>> product = Arithmetic(Operation.MULTIPLY, Purpose.PRODUCT, (8, 8), 10)
    >>> Counts((product, product)).merged().arithmetic[0].count
    20
    """

    arithmetic: tuple[Arithmetic, ...] = ()
    accesses: tuple[Access, ...] = ()

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.arithmetic + other.arithmetic, self.accesses + other.accesses)

    def operations(self, operation: Operation) -> int:
        """How many of one operation, whatever for and how wide."""
        return sum(item.count for item in self.arithmetic if item.operation is operation)

    @property
    def macs(self) -> int:
        """Products of a weight and an activation; each is added to something."""
        return sum(item.count for item in self.arithmetic if item.purpose is Purpose.PRODUCT)

    def read_bits(self, level: Level) -> int:
        return sum(access.read_bits for access in self.accesses if access.memory.level is level)

    def written_bits(self, level: Level) -> int:
        return sum(access.written_bits for access in self.accesses if access.memory.level is level)

    def bits(self, level: Level) -> int:
        """Bits read and written at one level."""
        return self.read_bits(level) + self.written_bits(level)

    def merged(self) -> Counts:
        """Return the counts with one entry for all that is alike; memories then have no name."""
        return Counts(_merged_arithmetic(self.arithmetic), _merged_accesses(self.accesses))


def _merged_arithmetic(items: Iterable[Arithmetic]) -> tuple[Arithmetic, ...]:
    totals: dict[Arithmetic, int] = {}
    for item in items:
        key = Arithmetic(item.operation, item.purpose, item.bits, 0)
        totals[key] = totals.get(key, 0) + item.count
    merged = [Arithmetic(key.operation, key.purpose, key.bits, count) for key, count in totals.items() if count]
    return tuple(sorted(merged, key=lambda item: (item.operation.value, item.purpose.value, item.bits)))


def _merged_accesses(items: Iterable[Access]) -> tuple[Access, ...]:
    totals: dict[Memory, tuple[int, int]] = {}
    for item in items:
        memory = item.memory
        key = Memory("", memory.level, memory.role, memory.capacity_bits, memory.word_bits)
        reads, writes = totals.get(key, (0, 0))
        totals[key] = (reads + item.reads, writes + item.writes)
    merged = [Access(memory, *moved) for memory, moved in totals.items() if any(moved)]
    return tuple(sorted(merged, key=lambda item: _order(item.memory)))


def _order(memory: Memory) -> tuple[str, str, int, int]:
    return (memory.level.value, memory.role.value, memory.capacity_bits, memory.word_bits)
