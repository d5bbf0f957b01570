"""What every engine gives for a layer: cycles with the causes of stalls, counted activity and how much was computed.

No prices here: `simulate.py` multiplies the counts by a technology's table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bitkiln.ir import ToolError, fail

from .accelerator import Accelerator, ArithmeticKind, Operand
from .counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role
from .workload import Layer


class StallCause(Enum):
    """Why an engine waits."""

    FIRST_TILE = "first tile"  # nothing to compute yet
    LAST_TILE = "last tile"  # nothing left to compute, results still leave the chip
    DRAM = "dram bandwidth"
    TILES = "small tiles"  # the engine fills and drains for every tile
    PORTS = "buffer ports"
    IMBALANCE = "load imbalance"  # some elements are done, others are not
    STARVED = "no input"  # the next non-zero input is not there yet


@dataclass(frozen=True)
class Stall:
    """Cycles in which nothing is computed, for one cause."""

    cause: StallCause
    cycles: int


@dataclass(frozen=True)
class LayerRun:
    """One layer on one engine. Of the layer's multiply-accumulates some are performed, some gated, some skipped.

    A gated one takes its cycle and no arithmetic energy, a skipped one takes neither; the three add up to
    `layer.macs`. `peak_macs` is what the engine does at most in a cycle. `mapping` says in words how the layer was
    laid out and tiled.
    """

    layer: Layer
    compute_cycles: int
    stalls: tuple[Stall, ...]
    counts: Counts
    peak_macs: int
    gated_macs: int = 0
    skipped_macs: int = 0
    mapping: str = ""

    @property
    def cycles(self) -> int:
        return self.compute_cycles + sum(stall.cycles for stall in self.stalls)

    @property
    def performed_macs(self) -> int:
        return self.layer.macs - self.gated_macs - self.skipped_macs

    @property
    def utilisation(self) -> float:
        """Share of the multipliers' cycles with a product in them, gated ones not among them; 0 to 1."""
        return self.performed_macs / (self.peak_macs * self.cycles) if self.cycles else 0.0

    def bytes(self, level: Level) -> float:
        """Bytes read and written at one level."""
        return self.counts.bits(level) / 8


ROLES = {
    Operand.WEIGHTS: Role.WEIGHTS,
    Operand.ACTIVATIONS: Role.ACTIVATIONS,
    Operand.OUTPUTS: Role.OUTPUTS,
}


@dataclass(frozen=True)
class Widths:
    """Bits of one layer's operands in the memories of one accelerator."""

    weight: int
    activation: int
    output: int
    accumulator: int

    def of(self, operand: Operand) -> int:
        return {
            Operand.WEIGHTS: self.weight,
            Operand.ACTIVATIONS: self.activation,
            Operand.OUTPUTS: self.output,
        }[operand]


def widths_of(layer: Layer, accelerator: Accelerator) -> Widths:
    """Return the widths in memory: the layer's own if it is quantised, else the accelerator's.

    Raises `unmappable-layer` if an operand of the layer is wider than the accelerator's.
    """
    numbers = accelerator.numbers
    pairs = (
        ("weights", layer.weight_bits, numbers.weight_bits),
        ("activations", layer.activation_bits, numbers.activation_bits),
    )
    for what, needed, available in pairs:
        if needed is not None and needed > available:
            why = f"its {what} have {needed} bits, the accelerator's {available}"
            hint = f"all engines with {what.removesuffix('s')}_bits = {needed} in [numbers] can"
            raise _refused(layer, accelerator, why, hint)
    return Widths(
        layer.weight_bits or numbers.weight_bits,
        layer.activation_bits or numbers.activation_bits,
        min(layer.output_bits or numbers.output_bits, numbers.accumulator_bits),
        numbers.accumulator_bits,
    )


def require_memories(accelerator: Accelerator) -> None:
    """Raise `bad-accelerator` unless there is an on-chip memory for every operand."""
    for operand in Operand:
        if accelerator.memory(operand) is None:
            message = f"{accelerator.name} has no [[sram]] that holds {operand.value}, which its engine reads from one"
            raise fail("bad-accelerator", message, hint=f'add one with holds = ["{operand.value}"]')


def unmappable(layer: Layer, accelerator: Accelerator, why: str, engines: tuple[str, ...]) -> ToolError:
    """Return the error for a layer that an engine cannot compute; `engines` are those that can."""
    return _refused(layer, accelerator, why, f"engines that can: {', '.join(engines)}")


def _refused(layer: Layer, accelerator: Accelerator, why: str, hint: str) -> ToolError:
    place = f" of {layer.place}" if layer.place else ""
    message = f"{accelerator.name} cannot compute the layer {layer.name}{place}: {why}"
    return fail("unmappable-layer", message, hint=hint)


def products(layer: Layer, accelerator: Accelerator, performed: int) -> tuple[Arithmetic, Arithmetic]:
    """Return the multiplications of `performed` multiply-accumulates and the additions to their sums."""
    numbers = accelerator.numbers
    is_float = numbers.arithmetic is ArithmeticKind.FLOAT
    multiply = Operation.FLOAT_MULTIPLY if is_float else Operation.MULTIPLY
    add = Operation.FLOAT_ADD if is_float else Operation.ADD
    width = numbers.accumulator_bits
    return (
        Arithmetic(multiply, Purpose.PRODUCT, (numbers.weight_bits, numbers.activation_bits), performed),
        Arithmetic(add, Purpose.ACCUMULATE, (width, width), performed),
    )


def sram_access(accelerator: Accelerator, operand: Operand, bits: int, reads: int, writes: int) -> Access | None:
    """Return accesses to values of `bits` bits in the operand's on-chip memory; None if it has none.

    Values are counted, not words: a word is read for all the lanes that its values go to.
    """
    sram = accelerator.memory(operand)
    if sram is None:
        return None
    memory = Memory(f"{operand.value} buffer", Level.SRAM, ROLES[operand], sram.bank_bits, bits)
    return Access(memory, reads, writes)


def dram_access(role: Role, bits: int, reads: int, writes: int) -> Access:
    """Return accesses to values of `bits` bits off the chip."""
    return Access(Memory(role.value, Level.DRAM, role, 0, bits), reads, writes)


def register_access(role: Role, bits: int, reads: int, writes: int, capacity_words: int = 1) -> Access:
    """Return accesses to values of `bits` bits in registers or scratch pads of a processing element."""
    return Access(Memory(role.value, Level.REGISTER, role, capacity_words * bits, bits), reads, writes)


def stalls_of(cycles: Mapping[StallCause, int]) -> tuple[Stall, ...]:
    """Return the stalls that are not zero."""
    return tuple(Stall(cause, count) for cause, count in cycles.items() if count)
