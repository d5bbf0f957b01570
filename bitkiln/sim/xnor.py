"""The XNOR-popcount array: binary weights and activations, a word of each in every lane and cycle.

A value is +1 or -1 and stored as a bit. A product is then an XNOR, and a dot product of n values is twice the number of
ones among the products minus n (Courbariaux et al., 2016; Umuroglu et al., FINN, FPGA 2017), so that a lane counts ones
in a tree of adders, adds up the counts of an output's words, and compares the sum with the filter's threshold, which
batch normalisation and sign fold into. A word holds channels of one pixel: where these are no multiple of the word, the
rest of the last word is masked. A word of weights stays in its lane while `accumulators` pixels pass.

The order is that of the vector array with as many input lanes as a word has bits, and so are the cycles, but for the
pipeline, which is filled once a layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from ._dense import Edge, dense_run
from ._tile_time import OnChip
from ._tiles import NOTHING_STAYS, Residence, Setting, Tilings
from .accelerator import Accelerator, Vector, Xnor
from .counts import Access, Arithmetic, Counts, Operation, Purpose, Role
from .engine import LayerRun, register_access, require_memories, unmappable, widths_of
from .systolic import fold_sum, position_folds
from .tiling import LEAST_TRAFFIC, Tiling, Tuning, better_tiling
from .vector import compute_cycles, tiled_cycles
from .workload import Layer

OTHER_ENGINES = ("systolic", "vector", "row_stationary", "zero_skip")
"""Engines for layers of more bits."""

STAGES = 4
"""Cycles of the pipeline besides the tree's: read both words, XNOR, add to the sum, compare."""


def xnor(
    layer: Layer,
    engine: Xnor,
    accelerator: Accelerator,
    tuning: Tuning = LEAST_TRAFFIC,
    resident: Residence = NOTHING_STAYS,
) -> LayerRun:
    """Return the layer. Raises `unmappable-layer` if weights or activations are known to have more than one bit."""
    require_memories(accelerator)
    for what, bits in (("weights", layer.weight_bits), ("activations", layer.activation_bits)):
        if bits is not None and bits > 1:
            why = f"its {what} have {bits} bits, and an XNOR multiplies one bit with one"
            raise unmappable(layer, accelerator, why, OTHER_ENGINES)
    setting, tiling = _tiled(layer, engine, accelerator, tuning, resident)
    edge = _edge(layer, engine, tiling.tilings)
    accesses = (*edge.accesses(setting), *_registers(setting, engine, edge))
    cycles = compute_cycles(layer, _as_vector(engine)) + pipeline_cycles(engine)
    run = dense_run(setting, tiling, accesses, engine.word_bits * engine.lanes, cycles)
    return replace(run, counts=Counts(tuple(_arithmetic(setting, engine)), run.counts.accesses))


def pipeline_cycles(engine: Xnor) -> int:
    """Return the cycles from the last word's read to its result."""
    return STAGES + math.ceil(math.log2(engine.word_bits))


def _as_vector(engine: Xnor) -> Vector:
    return Vector(engine.word_bits, engine.lanes)


def _tiled(
    layer: Layer, engine: Xnor, accelerator: Accelerator, tuning: Tuning, resident: Residence
) -> tuple[Setting, Tiling]:
    """The better of two ways: tiles with all channels, whose sums never leave the lanes, and tiles whose sums do."""
    widths = widths_of(layer, accelerator)
    done = replace(widths, accumulator=widths.output)
    whole = Setting(layer, done, accelerator, engine.lanes, resident=resident, has_all_channels=True)
    cut = Setting(layer, widths, accelerator, engine.lanes, engine.word_bits, resident)
    setting, _, tiling = better_tiling([(way, _on_chip(way, engine)) for way in (whole, cut)], tuning)
    return setting, tiling


def _on_chip(setting: Setting, engine: Xnor) -> OnChip:
    layer = setting.layer
    return OnChip(
        lambda tiles: tiled_cycles(layer, _as_vector(engine), tiles) + pipeline_cycles(engine),
        lambda tiles: _edge(layer, engine, tiles).bits(setting.widths),
        compute_cycles(layer, _as_vector(engine)) + pipeline_cycles(engine),
    )


def _words(layer: Layer, engine: Xnor) -> Iterator[tuple[int, int]]:
    """(bits that count, how many) for the words of one output: full ones and the rest."""
    full, rest = divmod(layer.channels // layer.groups, engine.word_bits)
    places = math.prod(layer.kernel)
    yield engine.word_bits, full * places
    if rest:
        yield rest, places


def _arithmetic(setting: Setting, engine: Xnor) -> Iterator[Arithmetic]:
    """Gates, adders of the tree (masked bits switch none), one addition a word, one comparison a binary output."""
    layer, width = setting.layer, setting.accelerator.numbers.accumulator_bits
    yield Arithmetic(Operation.LOGIC, Purpose.PRODUCT, (1, 1), layer.macs)
    for bits, count in _words(layer, engine):
        words = count * layer.output_count
        for operand_bits, adders in popcount_tree(bits):
            yield Arithmetic(Operation.ADD, Purpose.TREE, (operand_bits, operand_bits), adders * words)
        yield Arithmetic(Operation.ADD, Purpose.ACCUMULATE, (width, width), words)
    if setting.widths.output == 1:
        yield Arithmetic(Operation.COMPARE, Purpose.RESCALE, (width, width), layer.output_count)


def popcount_tree(bits: int) -> Iterator[tuple[int, int]]:
    """Return the tree that counts ones among `bits` bits, level by level: (width of the operands, adders)."""
    terms, width = bits, 1
    while terms > 1:
        yield width, terms // 2
        terms, width = terms - terms // 2, width + 1


def _edge(layer: Layer, engine: Xnor, tiles: Tilings) -> Edge:
    """A word of activations is read for all lanes at once, one of weights for as many pixels as a lane has sums."""
    windows = layer.positions * layer.taps * layer.groups
    folds = fold_sum(layer.group_filters, tiles.filters, tiles.filter_tiles, engine.lanes)
    loads = layer.weight_count * position_folds(layer, tiles, engine.accumulators)
    visits = layer.output_count * tiles.channel_tiles
    return Edge(loads, windows * folds, visits - layer.output_count, visits)


def _registers(setting: Setting, engine: Xnor, edge: Edge) -> Iterator[Access]:
    """The lanes' words and sums, and the thresholds. A held word drives its gates: it is accessed when it changes."""
    layer, width = setting.layer, setting.accelerator.numbers.accumulator_bits
    words = sum(count for _, count in _words(layer, engine)) * layer.output_count
    loads, windows = int(edge.weights[0]), int(edge.activations[0])
    yield register_access(Role.WEIGHTS, 1, loads, loads, engine.word_bits)
    yield register_access(Role.ACTIVATIONS, 1, windows, windows, engine.word_bits)
    yield register_access(Role.ACCUMULATOR, width, words, words, engine.accumulators)
    if setting.widths.output == 1:
        yield register_access(Role.ROW_CONSTANTS, width, layer.output_count, 0)
