"""What compression saves, step by step: from 32-bit weights in DRAM to what EIE spends on the same layers.

The argument of Deep Compression (Han et al., ICLR 2016) and EIE (ISCA 2016): fetch the weights from SRAM instead of
DRAM, only those that are not zero, as indices of a table of shared values, and only where the activation is not zero.
These four steps are counts times prices, with nothing else in the bill; then comes what they leave out: indices,
pointers, fillers, whole words, memories of the chip's own size, and at last arithmetic and registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._tiles import Residence
from .accelerator import Accelerator, Operand
from .counts import Counts, Level, Role
from .eie import eie, matrix_size
from .energy import counts_energy
from .engine import LayerRun
from .technology import Technology
from .workload import Layer

FLOAT_BITS = 32
SRAM_BYTES = 32768
"""The SRAM that Table I of EIE compares with DRAM."""

_STAYS = Residence(has_input=True, has_output=True, has_weights=True)
_MATRIX = (Role.WEIGHTS, Role.INDICES, Role.POINTERS)


@dataclass(frozen=True)
class Step:
    """Energy of all layers after one step, in the technology's unit.

    `factor` is how many times less that is than before; 1 where either is nothing.
    """

    name: str
    detail: str
    energy: float
    factor: float


def waterfall(layers: Sequence[Layer], accelerator: Accelerator, technology: Technology) -> tuple[Step, ...]:
    """Return the steps for the layers that EIE computes. `accelerator` has its engine; everything stays on its chip.

    The energy of the first five steps is that of fetching weights, once for each product.
    """
    engine = accelerator.eie
    assert engine is not None, f"{accelerator.name} was chosen for its engine"
    runs = [eie(layer, engine, accelerator, _STAYS) for layer in layers]
    dram, sram = technology.dram.pj_per_bit, technology.sram_pj_per_bit(8 * SRAM_BYTES)
    every = sum(layer.macs for layer in layers)
    nonzero = sum(_nonzeros(layer, accelerator) * layer.positions for layer in layers)
    live = sum(run.performed_macs for run in runs)
    matrix = sum(_energy(run, technology, of_matrix=True) for run in runs)
    rest = sum(_energy(run, technology, of_matrix=False) for run in runs)
    sizes = " and ".join(f"{bits // 8192:,} KB" for bits in _banks(accelerator))
    steps = (
        ("Weights from DRAM", f"{FLOAT_BITS} bits for each of {every:,} products", every * FLOAT_BITS * dram),
        ("from SRAM", f"of {SRAM_BYTES // 1024} KB instead", every * FLOAT_BITS * sram),
        ("without zeros", f"{nonzero / every:.1%} of the weights are not zero", nonzero * FLOAT_BITS * sram),
        (
            "shared",
            f"indices of {engine.code_bits} bits for {FLOAT_BITS}-bit values",
            nonzero * engine.code_bits * sram,
        ),
        (
            "zero activations skipped",
            f"{live / max(1, nonzero):.1%} of these products have an activation",
            live * engine.code_bits * sram,
        ),
        ("with all that finds them", f"row indices, fillers, pointers, whole words; memories of {sizes}", matrix),
        ("with arithmetic", "multiplications, sums, queues, activations: all that the engine counts", matrix + rest),
    )
    before = [steps[0][2], *(energy for _, _, energy in steps[:-1])]
    return tuple(
        Step(name, detail, energy, last / energy if last and energy else 1.0)
        for (name, detail, energy), last in zip(steps, before, strict=True)
    )


def dram_over_add(technology: Technology) -> float:
    """Return how many additions of 32 bits cost what 32 bits from DRAM do: 6400 in Table I of EIE."""
    return FLOAT_BITS * technology.dram.pj_per_bit / technology.add_pj(FLOAT_BITS)


def _nonzeros(layer: Layer, accelerator: Accelerator) -> int:
    assert accelerator.eie is not None
    size = matrix_size(layer, accelerator.eie, accelerator)
    return size.entries - size.fillers


def _energy(run: LayerRun, technology: Technology, *, of_matrix: bool) -> float:
    """Energy of the memories that hold the compressed matrix, or of all else."""
    counts = run.counts
    chosen = tuple(
        access
        for access in counts.accesses
        if (access.memory.level is Level.SRAM and access.memory.role in _MATRIX) == of_matrix
    )
    return counts_energy(Counts(() if of_matrix else counts.arithmetic, chosen), technology).total_pj


def _banks(accelerator: Accelerator) -> tuple[int, int]:
    """Bits of the memories of one element: entries, pointers."""
    sram = accelerator.memory(Operand.WEIGHTS)
    assert sram is not None and accelerator.eie is not None
    return sram.bank_bits, 8 * accelerator.eie.pointer_bytes
