"""Eyeriss: cycles and accesses of the row-stationary mapping that `_row_search.py` finds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bitkiln.ir.coding import RUN_BITS, Format

from ._dense import port_cycles
from ._row_search import Prices, find_mapping
from ._rows import Mapping, Problem
from ._tile_time import transfer_cycles
from .accelerator import Accelerator, Operand, RowStationary
from .counts import Access, Counts, Level, Memory, Role
from .engine import (
    LayerRun,
    Stall,
    StallCause,
    dram_access,
    products,
    register_access,
    require_memories,
    sram_access,
    stalls_of,
    widths_of,
)
from .tiling import LEAST_TRAFFIC, Objective, Tuning
from .workload import Layer


def row_stationary(
    layer: Layer, array: RowStationary, accelerator: Accelerator, tuning: Tuning = LEAST_TRAFFIC
) -> LayerRun:
    """Return the layer group after group, or some groups at a time where one does not fill the array.

    The mapping is the one with the least cost of moves outside the array, or of all moves by the technology's prices
    if `tuning` asks for the least energy; for the fewest cycles the fastest ones are tried as well. Zero inputs are
    known from the layer's activations or their density; without gating they are multiplied as well.
    """
    require_memories(accelerator)
    problem = Problem(layer, array, accelerator, widths_of(layer, accelerator))
    prices = Prices()
    if tuning.objective is Objective.ENERGY and tuning.technology is not None:
        prices = Prices.of(tuning.technology, accelerator)
    run = _run(problem, find_mapping(problem, prices))
    if tuning.objective is Objective.CYCLES:
        run = min(run, _run(problem, find_mapping(problem, prices, least_share=1.0)), key=lambda run: run.cycles)
    return run


def _run(problem: Problem, mapping: Mapping) -> LayerRun:
    layer, array = problem.layer, problem.array
    gated = round(layer.macs * (1 - layer.activation_density)) if array.has_gating else 0
    performed = layer.macs - gated
    accesses = (*_registers(mapping, performed), *_network(mapping), *_buffers(mapping), *_dram(mapping))
    return LayerRun(
        layer,
        int(mapping.cycles[0]),
        _stalls(mapping, accesses),
        Counts(products(layer, problem.accelerator, performed), accesses).merged(),
        array.rows * array.columns,
        gated_macs=gated,
        mapping=str(mapping),
    )


def _registers(mapping: Mapping, performed: int) -> Iterator[Access]:
    """Scratch pads: a multiply-accumulate reads all three and writes the sum; what arrives is written first."""
    macs, widths = mapping.problem.layer.macs, mapping.problem.widths
    yield register_access(Role.WEIGHTS, widths.weight, performed, mapping.delivered_weights)
    yield register_access(Role.ACTIVATIONS, widths.activation, macs, int(mapping.delivered_inputs[0]))
    yield register_access(Role.PARTIAL_SUMS, widths.accumulator, macs, macs)


def _network(mapping: Mapping) -> Iterator[Access]:
    widths = mapping.problem.widths
    counts = (
        (Role.WEIGHTS, widths.weight, mapping.delivered_weights),
        (Role.ACTIVATIONS, widths.activation, int(mapping.delivered_inputs[0])),
        (Role.PARTIAL_SUMS, widths.accumulator, int(mapping.passed_sums[0])),
    )
    for role, bits, count in counts:
        yield Access(Memory(role.value, Level.NETWORK, role, 0, bits), count, 0)


def _buffers(mapping: Mapping) -> Iterator[Access]:
    """Sums are read again for all passes but the first, and once to leave."""
    widths, accelerator = mapping.problem.widths, mapping.problem.accelerator
    weights, sums = mapping.weight_reads, int(mapping.sum_writes[0])
    found = (
        sram_access(accelerator, Operand.WEIGHTS, widths.weight, weights, weights),
        sram_access(
            accelerator, Operand.ACTIVATIONS, widths.activation, int(mapping.buffer_inputs[0]), mapping.input_reads
        ),
        sram_access(accelerator, Operand.OUTPUTS, widths.accumulator, sums, sums),
    )
    yield from (access for access in found if access is not None)


def _dram(mapping: Mapping) -> Iterator[Access]:
    layer, widths = mapping.problem.layer, mapping.problem.widths
    format_ = mapping.problem.array.feature_map_format
    yield dram_access(Role.WEIGHTS, widths.weight, mapping.weight_reads, 0)
    kept, metadata_bits = _stored(mapping.input_reads, layer.activation_density, widths.activation, format_)
    yield dram_access(Role.ACTIVATIONS, widths.activation, kept, 0)
    yield dram_access(Role.INDICES, 1, metadata_bits, 0)
    kept, metadata_bits = _stored(layer.output_count, layer.output_density, widths.output, format_)
    yield dram_access(Role.OUTPUTS, widths.output, 0, kept)
    yield dram_access(Role.INDICES, 1, 0, metadata_bits)


def _stored(count: int, density: float, bits: int, format_: Format) -> tuple[int, int]:
    """Values kept and bits of metadata, as expected for zeros at random; dense where that is smaller."""
    match format_:
        case Format.RUN_LENGTH:
            run = (1 - density) ** (1 << RUN_BITS)
            kept = math.ceil(count * density / (1 - run)) if density else 0
            metadata = kept * RUN_BITS
        case Format.BITMAP:
            kept, metadata = round(count * density), count
        case Format.DENSE | Format.COMPRESSED_COLUMNS:
            kept, metadata = count, 0
    return (kept, metadata) if kept * bits + metadata < count * bits else (count, 0)


def _stalls(mapping: Mapping, accesses: tuple[Access, ...]) -> tuple[Stall, ...]:
    """Filters come while others are used; feature maps as well only if their memory is double buffered."""
    accelerator, layer, cycles = mapping.problem.accelerator, mapping.problem.layer, int(mapping.cycles[0])
    groups = -(-layer.groups // int(mapping.use.set_groups[0]))
    tiles = layer.batch // mapping.images * mapping.sets.strips * mapping.filter_groups * groups
    input_loads = tiles * int(mapping.channel_passes[0])
    weight_loads = input_loads * int(mapping.filter_passes[0])
    latency = accelerator.cycles(accelerator.dram.latency_ns)
    weights = _time(accelerator, accesses, Role.WEIGHTS, weight_loads)
    hidden, bare = weights, 0
    for operand, role, loads in (
        (Operand.ACTIVATIONS, Role.ACTIVATIONS, input_loads),
        (Operand.OUTPUTS, Role.OUTPUTS, tiles),
    ):
        sram, time = accelerator.memory(operand), _time(accelerator, accesses, role, loads)
        if sram is not None and sram.is_double_buffered:
            hidden += time
        else:
            bare += time + latency * loads
    late = max(0, hidden - cycles) + bare
    return stalls_of(
        {
            StallCause.FIRST_TILE: latency + weights // weight_loads,
            StallCause.DRAM: late,
            StallCause.PORTS: max(0, port_cycles(accelerator, accesses) - cycles - late),
        }
    )


def _time(accelerator: Accelerator, accesses: tuple[Access, ...], role: Role, loads: int) -> int:
    """Cycles on the DRAM link for the values of one operand, in `loads` equal stretches."""
    bits = sum(a.bits for a in accesses if a.memory.level is Level.DRAM and a.memory.role is role)
    each = transfer_cycles(np.array([bits / loads]), accelerator.dram, accelerator.clock_hz)
    return math.ceil(loads * float(each[0]))
