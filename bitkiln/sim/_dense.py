"""What the dense engines have in common: traffic of a tiling by memory, and the stalls that it makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ._tiles import Setting, Whole
from .accelerator import Accelerator, Operand
from .counts import Access, Counts, Level, Memory, Role
from .engine import LayerRun, StallCause, Widths, dram_access, products, stalls_of
from .tiling import Tiling


@dataclass(frozen=True, eq=False)
class Edge:
    """Values that an array reads from its memories, and partial sums that it reads and writes, for each tiling."""

    weights: Whole
    activations: Whole
    sum_reads: Whole
    sum_writes: Whole

    def bits(self, widths: Widths) -> dict[Operand, tuple[Whole, Whole]]:
        """Return what is read from and written to the memory of each operand."""
        none = 0 * self.weights
        return {
            Operand.WEIGHTS: (self.weights * widths.weight, none),
            Operand.ACTIVATIONS: (self.activations * widths.activation, none),
            Operand.OUTPUTS: (self.sum_reads * widths.accumulator, self.sum_writes * widths.accumulator),
        }

    def accesses(self, setting: Setting) -> Iterable[Access]:
        """Return the accesses of the only tiling."""
        weights, activations, reads, writes = (
            int(part[0]) for part in (self.weights, self.activations, self.sum_reads, self.sum_writes)
        )
        widths = setting.widths
        yield buffer_access(setting, Operand.WEIGHTS, Role.WEIGHTS, widths.weight, weights, 0)
        yield buffer_access(setting, Operand.ACTIVATIONS, Role.ACTIVATIONS, widths.activation, activations, 0)
        yield buffer_access(setting, Operand.OUTPUTS, Role.PARTIAL_SUMS, widths.accumulator, reads, writes)


def dense_run(
    setting: Setting, tiling: Tiling, array: Iterable[Access], peak_macs: int, compute_cycles: int
) -> LayerRun:
    """Return the run of a layer whose tiles go through `array`, its accesses to registers and on-chip memories.

    `compute_cycles` are those of the layer in one piece; what its tiles take more is a stall.
    """
    accesses = (*array, *_fills(setting, tiling), *_dram(setting, tiling))
    return LayerRun(
        setting.layer,
        compute_cycles,
        stalls_of(
            {
                StallCause.FIRST_TILE: tiling.first_cycles,
                StallCause.TILES: tiling.compute_cycles - compute_cycles,
                StallCause.DRAM: tiling.waiting_cycles,
                StallCause.PORTS: tiling.port_cycles,
                StallCause.LAST_TILE: tiling.last_cycles,
            }
        ),
        Counts(products(setting.layer, setting.accelerator, setting.layer.macs), accesses).merged(),
        peak_macs,
        mapping=str(tiling.tile),
    )


def buffer_access(setting: Setting, operand: Operand, role: Role, bits: int, reads: int, writes: int) -> Access:
    """Return accesses to values of `bits` bits in the memory that holds `operand`."""
    sram = setting.accelerator.memory(operand)
    assert sram is not None, f"{setting.accelerator.name} was checked for an sram that holds {operand.value}"
    return Access(Memory(operand.value, Level.SRAM, role, sram.bank_bits, bits), reads, writes)


def _fills(setting: Setting, tiling: Tiling) -> Iterable[Access]:
    """What comes from DRAM is written to a memory, what goes there is read from one; sums are requantised outside."""
    widths = setting.widths
    yield buffer_access(setting, Operand.WEIGHTS, Role.WEIGHTS, widths.weight, 0, tiling.weight_reads)
    yield buffer_access(setting, Operand.ACTIVATIONS, Role.ACTIVATIONS, widths.activation, 0, tiling.activation_reads)
    drained = setting.layer.output_count + tiling.partial_writes
    yield buffer_access(setting, Operand.OUTPUTS, Role.PARTIAL_SUMS, widths.accumulator, drained, tiling.partial_reads)
    if setting.resident.has_output:
        yield buffer_access(setting, Operand.ACTIVATIONS, Role.OUTPUTS, widths.output, 0, setting.layer.output_count)


def _dram(setting: Setting, tiling: Tiling) -> Iterable[Access]:
    widths = setting.widths
    yield dram_access(Role.WEIGHTS, widths.weight, tiling.weight_reads, 0)
    yield dram_access(Role.ACTIVATIONS, widths.activation, tiling.activation_reads, 0)
    yield dram_access(Role.OUTPUTS, widths.output, 0, tiling.output_writes)
    yield dram_access(Role.PARTIAL_SUMS, widths.accumulator, tiling.partial_reads, tiling.partial_writes)


_HELD_BY = {
    Role.WEIGHTS: Operand.WEIGHTS,
    Role.ACTIVATIONS: Operand.ACTIVATIONS,
    Role.PARTIAL_SUMS: Operand.OUTPUTS,
    Role.OUTPUTS: Operand.ACTIVATIONS,  # that stay on the chip as the next layer's input
}


def port_cycles(accelerator: Accelerator, accesses: Iterable[Access]) -> int:
    """Return the cycles that the busiest on-chip memory needs for its part of `accesses`."""
    bits: dict[Operand, int] = {}
    for access in accesses:
        if access.memory.level is Level.SRAM:
            operand = _HELD_BY[access.memory.role]
            bits[operand] = bits.get(operand, 0) + access.bits
    busiest = 0
    for sram in accelerator.sram:
        moved = sum(bits.get(operand, 0) for operand in sram.holds)
        busiest = max(busiest, -(-moved // sram.bits_per_cycle))
    return busiest
