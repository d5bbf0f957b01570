"""EIE: what a layer costs on elements that walk compressed columns; the machine itself is `eie_cycles.py`.

Weights are codes of a table of shared values. They stay in the elements' memories from image to image where the layer's
`Residence` says so; else they are loaded before the layer starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bitkiln.ir import fail

from ._tile_time import transfer_cycles
from ._tiles import NOTHING_STAYS, Residence
from .accelerator import Accelerator, Eie, Operand, Sram
from .compressed import Compressed, Mask
from .counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role
from .eie_cycles import EieCycles, run_vectors
from .engine import (
    LayerRun,
    StallCause,
    Widths,
    dram_access,
    register_access,
    require_memories,
    stalls_of,
    unmappable,
    widths_of,
)
from .sparsity import SEED, Operands, activation_shape, drawn, mask_of, vectors, weight_shape
from .workload import Layer

OTHER_ENGINES = ("systolic", "vector", "row_stationary", "zero_skip")
"""Engines for what this one cannot compute."""


@dataclass(frozen=True)
class MatrixSize:
    """Entries of the compressed weights, those of them that are fillers, and entries of the element with the most."""

    entries: int
    fillers: int
    most_entries: int

    @classmethod
    def of(cls, matrix: Compressed) -> MatrixSize:
        return cls(matrix.entry_count, matrix.filler_count, int(matrix.entries.sum(axis=0).max()))


@dataclass(frozen=True, eq=False)
class _Walk:
    """The vectors of a layer on the elements; `performed` products are of two non-zeros."""

    matrix: MatrixSize
    cycles: EieCycles
    performed: int


@dataclass(frozen=True, eq=False)
class _Work:
    """A layer as it is on the elements."""

    layer: Layer
    engine: Eie
    accelerator: Accelerator
    widths: Widths
    matrix: MatrixSize
    cycles: EieCycles

    @property
    def pointer_count(self) -> int:
        return (self.layer.taps + 1) * self.engine.elements

    @property
    def entries(self) -> int:
        """Entries walked for all vectors."""
        return int(self.cycles.entry_cycles.sum())

    @property
    def broadcasts(self) -> int:
        return int(self.cycles.broadcasts.sum())


def eie(
    layer: Layer, engine: Eie, accelerator: Accelerator, resident: Residence = NOTHING_STAYS, seed: int = SEED
) -> LayerRun:
    """Return the layer, a matrix product with constant weights, vector after vector.

    Masks that follow from no values are drawn: the first vector `random(taps) < density`, then the weights element
    after element (`Compressed.random`), then the other vectors. Raises `unmappable-layer`, and `sram-too-small` if an
    element cannot hold its part of the compressed weights.
    """
    require_memories(accelerator)
    _check(layer, accelerator)
    widths = widths_of(layer, accelerator)
    walk = _walk(Operands.of(layer), engine, _word_entries(engine, accelerator), seed)
    _check_size(layer, accelerator, walk.matrix, engine)
    cycles, performed = walk.cycles, walk.performed
    work = _Work(layer, engine, accelerator, widths, walk.matrix, cycles)
    compute, total = -(-work.entries // engine.elements), int(cycles.total_cycles.sum())
    behind = int(cycles.empty_cycles.sum() + cycles.imbalance_cycles.sum()) // engine.elements
    transfers = {role: list(_transfers(work, resident, role)) for role in (StallCause.FIRST_TILE, StallCause.LAST_TILE)}
    return LayerRun(
        layer,
        compute,
        stalls_of(
            {
                StallCause.FIRST_TILE: _time(accelerator, transfers[StallCause.FIRST_TILE]),
                StallCause.IMBALANCE: min(behind, total - compute),
                StallCause.STARVED: max(0, total - compute - behind),
                StallCause.LAST_TILE: _time(accelerator, transfers[StallCause.LAST_TILE]),
            }
        ),
        Counts(
            tuple(_arithmetic(work, performed)),
            (
                *_matrix_accesses(work),
                *_vector_accesses(work),
                *(part for parts in transfers.values() for part in parts),
            ),
        ),
        engine.elements,
        skipped_macs=layer.macs - performed,
        mapping=_mapping(work),
    )


def stored_bits(layer: Layer, engine: Eie, accelerator: Accelerator, seed: int = SEED) -> int:
    """Return the bits that the compressed weights take of their memory: codes and indices, those of fillers, too.

    Pointers have a memory of their own. Its size is not enforced: the paper runs VGG-6, whose 25,089 pointers an
    element take 50 KB, on 32 KB, and does not say how.
    """
    return matrix_size(layer, engine, accelerator, seed).entries * (engine.code_bits + engine.index_bits)


def matrix_size(layer: Layer, engine: Eie, accelerator: Accelerator, seed: int = SEED) -> MatrixSize:
    """Return how many entries the compressed weights have."""
    return _walk(Operands.of(layer), engine, _word_entries(engine, accelerator), seed).matrix


def _word_entries(engine: Eie, accelerator: Accelerator) -> int:
    return max(1, _sram(accelerator, Operand.WEIGHTS).word_bits // (engine.code_bits + engine.index_bits))


def _sram(accelerator: Accelerator, operand: Operand) -> Sram:
    sram = accelerator.memory(operand)
    assert sram is not None, "checked by require_memories"
    return sram


def _check(layer: Layer, accelerator: Accelerator) -> None:
    if layer.groups > 1:
        raise unmappable(layer, accelerator, f"it has {layer.groups} groups; EIE multiplies one matrix", OTHER_ENGINES)
    if not layer.has_constant_weights:
        why = "both its operands are computed, and EIE compresses one beforehand"
        raise unmappable(layer, accelerator, why, OTHER_ENGINES)
    if max(layer.kernel) > 1 and max(layer.output) > 1:
        why = f"it slides a {layer.kernel[0]}x{layer.kernel[1]} kernel; EIE multiplies a matrix and a vector"
        raise unmappable(layer, accelerator, why, OTHER_ENGINES)


def _operands(layer: Layer, engine: Eie, seed: int) -> tuple[Compressed, Mask]:
    """The compressed weights, and which activations [vectors, taps] are not zero."""
    generator = np.random.default_rng(seed)
    shape = (layer.filters, layer.taps)
    first = drawn(generator, (1, layer.taps), layer.activation_density)
    if layer.weights is None:
        density = layer.weight_density
        matrix = Compressed.random(generator, shape, density, engine.elements, engine.index_bits)
    else:
        matrix = Compressed.of(
            mask_of(layer.weights, weight_shape(layer)).reshape(shape), engine.elements, engine.index_bits
        )
    if layer.activations is not None:
        return matrix, vectors(layer, mask_of(layer.activations, activation_shape(layer)))
    others = drawn(generator, (layer.positions - 1, layer.taps), layer.activation_density)
    return matrix, np.concatenate((first, others))


@lru_cache(maxsize=16)
def _walk(operands: Operands, engine: Eie, word_entries: int, seed: int) -> _Walk:
    """The part that takes time; the same layer is asked for again with more or less of it staying on the chip."""
    matrix, live = _operands(operands.layer, engine, seed)
    performed = int((matrix.nonzeros.sum(axis=1) * live.sum(axis=0)).sum())
    return _Walk(MatrixSize.of(matrix), run_vectors(matrix, live, engine.queue_places, word_entries), performed)


def _check_size(layer: Layer, accelerator: Accelerator, matrix: MatrixSize, engine: Eie) -> None:
    needed = -(-matrix.most_entries * (engine.code_bits + engine.index_bits) // 8)
    available = _sram(accelerator, Operand.WEIGHTS).capacity_bytes // engine.elements
    if needed > available:
        message = f"layer {layer.name} does not fit on {accelerator.name}: of its compressed weights an element holds"
        hint = f"the least that works is capacity_bytes = {needed * engine.elements} for the sram that holds weights"
        raise fail("sram-too-small", f"{message} {needed:,} bytes, and its memory {available:,}", hint=hint)


def _arithmetic(work: _Work, performed: int) -> Iterator[Arithmetic]:
    """Fillers are multiplied like any entry; every entry adds its index to the row before."""
    numbers = work.accelerator.numbers
    operands, width = (numbers.weight_bits, numbers.activation_bits), numbers.accumulator_bits
    rows = -(-work.layer.filters // work.engine.elements)
    address = max(work.engine.index_bits, rows.bit_length())
    yield Arithmetic(Operation.MULTIPLY, Purpose.PRODUCT, operands, performed)
    yield Arithmetic(Operation.MULTIPLY, Purpose.FILLER, operands, work.entries - performed)
    yield Arithmetic(Operation.ADD, Purpose.ACCUMULATE, (width, width), work.entries)
    yield Arithmetic(Operation.ADD, Purpose.ADDRESS, (address, address), work.entries)


def _matrix_accesses(work: _Work) -> Iterator[Access]:
    """Pointers, words of entries (read for their codes and their indices) and the table of shared values."""
    engine, sram = work.engine, _sram(work.accelerator, Operand.WEIGHTS)
    words, entries = int(work.cycles.word_reads.sum()), work.entries
    each = _word_entries(engine, work.accelerator)
    for role, bits in ((Role.WEIGHTS, engine.code_bits), (Role.INDICES, engine.index_bits)):
        yield Access(Memory("matrix", Level.SRAM, role, sram.bank_bits, each * bits), words, 0)
    pointers = Memory("pointers", Level.SRAM, Role.POINTERS, 8 * engine.pointer_bytes, engine.pointer_bits)
    yield Access(pointers, 2 * work.broadcasts * engine.elements, 0)
    yield register_access(Role.CODEBOOK, work.accelerator.numbers.weight_bits, entries, 0, 1 << engine.code_bits)
    yield register_access(Role.ACCUMULATOR, work.accelerator.numbers.accumulator_bits, entries, entries)


def _vector_accesses(work: _Work) -> Iterator[Access]:
    """Input vectors go through the detector's row into all queues, results from the accumulators into memory."""
    layer, widths, elements = work.layer, work.widths, work.engine.elements
    rows = -(-layer.taps // elements) * elements * layer.positions
    index = max(1, (layer.taps - 1).bit_length())
    source = _sram(work.accelerator, Operand.ACTIVATIONS)
    target = _sram(work.accelerator, Operand.OUTPUTS)
    yield Access(Memory("input", Level.SRAM, Role.ACTIVATIONS, source.bank_bits, widths.activation), rows, 0)
    yield register_access(Role.ACTIVATIONS, widths.activation, work.broadcasts, rows, elements)
    queued = work.broadcasts * elements
    yield register_access(Role.QUEUE, index, queued, queued, work.engine.queue_places)
    yield register_access(Role.QUEUE, widths.activation, work.entries, queued, work.engine.queue_places)
    yield register_access(Role.ACCUMULATOR, work.accelerator.numbers.accumulator_bits, layer.output_count, 0)
    yield Access(Memory("output", Level.SRAM, Role.OUTPUTS, target.bank_bits, widths.output), 0, layer.output_count)


def _transfers(work: _Work, resident: Residence, when: StallCause) -> Iterator[Access]:
    """What comes from DRAM before the layer starts or goes there when it is done."""
    layer, engine = work.layer, work.engine
    if when is StallCause.LAST_TILE:
        if not resident.has_output:
            yield dram_access(Role.OUTPUTS, work.widths.output, 0, layer.output_count)
        return
    if not resident.has_input:
        yield dram_access(Role.ACTIVATIONS, work.widths.activation, layer.input_count, 0)
    if not resident.has_weights:
        count = work.matrix.entries
        yield dram_access(Role.WEIGHTS, engine.code_bits, count, 0)
        yield dram_access(Role.INDICES, engine.index_bits, count, 0)
        yield dram_access(Role.POINTERS, engine.pointer_bits, work.pointer_count, 0)
        yield dram_access(Role.CODEBOOK, work.accelerator.numbers.weight_bits, 1 << engine.code_bits, 0)


def _time(accelerator: Accelerator, transfers: list[Access]) -> int:
    """Cycles of transfers one after the other; nothing hides them."""
    if not transfers:
        return 0
    bits = np.array([float(access.bits) for access in transfers])
    moving = transfer_cycles(bits, accelerator.dram, accelerator.clock_hz).sum()
    return accelerator.cycles(accelerator.dram.latency_ns) + int(np.ceil(moving))


def _mapping(work: _Work) -> str:
    entries, fillers = work.matrix.entries, work.matrix.fillers
    stored = entries * (work.engine.code_bits + work.engine.index_bits) + work.pointer_count * work.engine.pointer_bits
    rows = -(-work.layer.filters // work.engine.elements)
    return (
        f"{work.engine.elements} elements x {rows} rows; {entries:,} entries, {fillers:,} of them fillers, "
        f"{stored / 8:,.0f} bytes with pointers; {work.cycles.utilisation:.1%} of the elements' cycles on entries"
    )
