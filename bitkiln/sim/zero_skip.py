"""A convolution engine that knows about zeros: what they save, and what it costs to know.

Gating keeps the cycle of a product with a zero and saves its arithmetic and accesses (Eyeriss); skipping saves the
cycle, too (Cambricon-X for weights, Cnvlutin for activations, SCNN and Eyeriss v2 for both). An element does a product
a cycle and works on its own until its tile of sums is done; then all meet. Operands are stored with their metadata, and
both come from DRAM and from the buffers in that form; a word that several lanes need is read once. Results leave
uncompressed, since nobody knows their zeros yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from bitkiln.ir.coding import Stored, stored

from ._dense import dense_run
from ._tile_time import OnChip
from ._tiles import NOTHING_STAYS, Residence, Setting, Tilings, Whole
from .accelerator import Accelerator, Operand, ZeroSkip
from .counts import Access, Counts, Level, Memory, Role
from .engine import LayerRun, Stall, StallCause, dram_access, products, register_access, require_memories, widths_of
from .sparsity import SEED, Operands, masks
from .systolic import fold_sum
from .tiling import LEAST_TRAFFIC, Tiling, Tuning, better_tiling
from .workload import Layer
from .zero_work import ElementTile, ZeroWork, element_tile, zero_work

_HELD = {Role.WEIGHTS: Operand.WEIGHTS, Role.ACTIVATIONS: Operand.ACTIVATIONS, Role.PARTIAL_SUMS: Operand.OUTPUTS}


@dataclass(frozen=True)
class _Job:
    """A layer with its stored operands on the elements."""

    setting: Setting
    engine: ZeroSkip
    weights: Stored
    activations: Stored
    tile: ElementTile
    work: ZeroWork

    @cached_property
    def input_passes(self) -> float:
        """How often the input is read from its buffer: whole rows, for each tile of pixels that sees them."""
        return self.tile.filter_tiles * _rows_seen(self.setting.layer, self.engine, self.tile)


def zero_skip(
    layer: Layer,
    engine: ZeroSkip,
    accelerator: Accelerator,
    tuning: Tuning = LEAST_TRAFFIC,
    resident: Residence = NOTHING_STAYS,
    seed: int = SEED,
) -> LayerRun:
    """Return the layer; operands of unknown values are drawn at the layer's densities."""
    require_memories(accelerator)
    job = _job(layer, engine, accelerator, resident, seed)
    work, elements = job.work, engine.filter_lanes * engine.position_lanes
    whole = replace(job.setting, has_all_channels=True)  # elements then finish their sums
    _, _, tiling = better_tiling([(way, _on_chip(job)) for way in (whole, job.setting)], tuning)
    array = (*_operand_reads(job), _sums(job, int(tiling.tilings.channel_tiles[0])), *_registers(job))
    run = dense_run(job.setting, tiling, [_of_operand(access) for access in array], elements, work.cycles)
    compute = -(-work.cycled // elements)
    waiting = Stall(StallCause.IMBALANCE, work.cycles - compute)
    stored_bits = (job.weights.bits + job.activations.bits) / 8
    return replace(
        run,
        compute_cycles=compute,
        stalls=(*run.stalls, waiting) if waiting.cycles else run.stalls,
        counts=Counts(
            products(layer, accelerator, work.performed), (*array, *_fills(job, tiling), *_dram(job, tiling))
        ),
        gated_macs=work.cycled - work.performed,
        skipped_macs=layer.macs - work.cycled,
        mapping=f"{run.mapping}; {job.tile.filters} filters x {job.tile.pixels} pixels an element; "
        f"operands in {stored_bits:,.0f} bytes",
    )


def _on_chip(job: _Job) -> OnChip:
    """What the elements do; tiles in the buffers with fewer filters than there are lanes leave the others empty."""
    filters, lanes = job.setting.layer.group_filters, job.engine.filter_lanes
    bits = dict.fromkeys(Operand, 0)
    for access in map(_of_operand, _operand_reads(job)):
        bits[_HELD[access.memory.role]] += access.read_bits
    sums = _sums(job, 1).written_bits

    def moved(tiles: Tilings) -> dict[Operand, tuple[Whole, Whole]]:
        none = 0 * tiles.filters
        result = {operand: (none + reads, none) for operand, reads in bits.items()}
        return result | {Operand.OUTPUTS: (sums * (tiles.channel_tiles - 1), sums * tiles.channel_tiles)}

    def cycles(tiles: Tilings) -> Whole:
        return -(-job.work.cycles * fold_sum(filters, tiles.filters, tiles.filter_tiles, lanes) // -(-filters // lanes))

    return OnChip(cycles, moved, job.work.cycles)


def _job(layer: Layer, engine: ZeroSkip, accelerator: Accelerator, resident: Residence, seed: int) -> _Job:
    widths = widths_of(layer, accelerator)
    weights, activations, tile, work = _worked(Operands.of(layer), engine, widths.weight, widths.activation, seed)
    # Room on the chip is planned for the mean of a value with its metadata, in whole bits.
    room = replace(
        widths,
        weight=max(1, -(-weights.bits // layer.weight_count)),
        activation=max(1, -(-activations.bits // layer.input_count)),
    )
    setting = Setting(layer, room, accelerator, engine.filter_lanes, resident=resident)
    return _Job(setting, engine, weights, activations, tile, work)


@lru_cache(maxsize=16)
def _worked(
    operands: Operands, engine: ZeroSkip, weight_bits: int, activation_bits: int, seed: int
) -> tuple[Stored, Stored, ElementTile, ZeroWork]:
    """The part that takes time; the same layer is asked for again with more or less of it staying on the chip."""
    layer = operands.layer
    weight_mask, activation_mask = masks(layer, seed)
    weights = stored(np.moveaxis(weight_mask, 0, -1), weight_bits, engine.weight_format)
    activations = stored(np.moveaxis(activation_mask, 1, -1), activation_bits, engine.activation_format)
    tile = element_tile(layer, engine, weights.bits, activations.bits)
    return weights, activations, tile, zero_work(layer, engine, tile, weight_mask, activation_mask)


def _rows_seen(layer: Layer, engine: ZeroSkip, tile: ElementTile) -> float:
    """Input rows that the tiles of pixels see, all added up, as a multiple of all rows."""
    height, width = layer.output
    chunk = engine.position_lanes * tile.pixels
    first = np.arange(tile.pixel_tiles) * chunk
    last = np.minimum(first + chunk, layer.positions) - 1
    span = layer.dilation[0] * (layer.kernel[0] - 1)
    total = 0
    for image in range(layer.batch):
        base = image * height * width
        top = np.clip(first - base, 0, height * width - 1) // width
        bottom = np.clip(last - base, 0, height * width - 1) // width
        start = np.clip(top * layer.stride[0] - layer.padding[0][0], 0, layer.height)
        end = np.clip(bottom * layer.stride[0] - layer.padding[0][0] + span + 1, 0, layer.height)
        is_there = (first < base + height * width) & (last >= base)
        total += int(((end - start) * is_there).sum())
    return total / (layer.batch * layer.height)


def _stored_accesses(
    name: str, role: Role, level: Level, capacity_bits: int, held: Stored, reads: float, writes: float
) -> Iterator[Access]:
    """Accesses to all of a stored tensor, so many times: to its values, and to its metadata."""
    parts = ((role, held.value_bits), (Role.INDICES, held.metadata_bits))
    for what, bits in parts:
        if bits:
            yield Access(Memory(name, level, what, capacity_bits, 1), round(bits * reads), round(bits * writes))


def _of_operand(access: Access) -> Access:
    """The access as one to the operand itself: metadata use the same ports."""
    role = {"weights": Role.WEIGHTS, "input": Role.ACTIVATIONS}.get(access.memory.name, access.memory.role)
    return replace(access, memory=replace(access.memory, role=role))


def _bank_bits(job: _Job, operand: Operand) -> int:
    sram = job.setting.accelerator.memory(operand)
    assert sram is not None, "checked by require_memories"
    return sram.bank_bits


def _sums(job: _Job, channel_tiles: int) -> Access:
    """Sums are written after each tile of channels, and read for the next one."""
    setting, count = job.setting, job.setting.layer.output_count
    memory = Memory(
        "outputs", Level.SRAM, Role.PARTIAL_SUMS, _bank_bits(job, Operand.OUTPUTS), setting.widths.accumulator
    )
    return Access(memory, count * (channel_tiles - 1), count * channel_tiles)


def _operand_reads(job: _Job) -> Iterator[Access]:
    """Weights are read for each tile of pixels, the input for each tile of filters."""
    sram = Level.SRAM
    weights, activations = _bank_bits(job, Operand.WEIGHTS), _bank_bits(job, Operand.ACTIVATIONS)
    yield from _stored_accesses("weights", Role.WEIGHTS, sram, weights, job.weights, job.tile.pixel_tiles, 0)
    yield from _stored_accesses("input", Role.ACTIVATIONS, sram, activations, job.activations, job.input_passes, 0)


def _registers(job: _Job) -> Iterator[Access]:
    """A product reads its operands and its sum and writes that; a gated one reads what gates it."""
    layer, work, engine = job.setting.layer, job.work, job.engine
    numbers, gated = job.setting.accelerator.numbers, job.work.cycled - job.work.performed
    loaded = round(job.weights.kept * job.tile.pixel_tiles), round(job.activations.kept * job.input_passes)
    yield register_access(Role.WEIGHTS, numbers.weight_bits, work.performed, loaded[0] * engine.position_lanes)
    yield register_access(
        Role.ACTIVATIONS, numbers.activation_bits, work.performed + gated, loaded[1] * engine.filter_lanes
    )
    sums = work.performed + layer.output_count
    yield register_access(Role.ACCUMULATOR, numbers.accumulator_bits, sums, work.performed, engine.accumulators)


def _loads(job: _Job, tiling: Tiling) -> tuple[float, float]:
    """How often all weights and the whole input come from DRAM."""
    layer = job.setting.layer
    return tiling.weight_reads / layer.weight_count, tiling.activation_reads / layer.input_count


def _fills(job: _Job, tiling: Tiling) -> Iterator[Access]:
    """What comes from DRAM is written to a buffer, what goes there is read from one."""
    sram, widths = Level.SRAM, job.setting.widths
    weights, activations = _loads(job, tiling)
    yield from _stored_accesses(
        "weights", Role.WEIGHTS, sram, _bank_bits(job, Operand.WEIGHTS), job.weights, 0, weights
    )
    yield from _stored_accesses(
        "input", Role.ACTIVATIONS, sram, _bank_bits(job, Operand.ACTIVATIONS), job.activations, 0, activations
    )
    outputs = Memory("outputs", sram, Role.PARTIAL_SUMS, _bank_bits(job, Operand.OUTPUTS), widths.accumulator)
    yield Access(outputs, job.setting.layer.output_count + tiling.partial_writes, tiling.partial_reads)
    if job.setting.resident.has_output:
        kept = Memory("kept outputs", sram, Role.OUTPUTS, _bank_bits(job, Operand.ACTIVATIONS), widths.output)
        yield Access(kept, 0, job.setting.layer.output_count)


def _dram(job: _Job, tiling: Tiling) -> Iterator[Access]:
    widths = job.setting.widths
    weights, activations = _loads(job, tiling)
    yield from _stored_accesses("weights", Role.WEIGHTS, Level.DRAM, 0, job.weights, weights, 0)
    yield from _stored_accesses("input", Role.ACTIVATIONS, Level.DRAM, 0, job.activations, activations, 0)
    yield dram_access(Role.OUTPUTS, widths.output, 0, tiling.output_writes)
    yield dram_access(Role.PARTIAL_SUMS, widths.accumulator, tiling.partial_reads, tiling.partial_writes)
