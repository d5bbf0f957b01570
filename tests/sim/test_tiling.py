"""Tilings: traffic and time against tiles walked one by one, and the search against all there is."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitkiln.ir import ToolError
from bitkiln.sim._orders import ORDERS, Loop
from bitkiln.sim._tile_time import OnChip, transfer_cycles
from bitkiln.sim._tiles import LEAST_SHARE, Residence, Setting, Tilings, Whole, sizes
from bitkiln.sim.accelerator import Accelerator, Dram, Operand, Vector, find_accelerator
from bitkiln.sim.counts import Level
from bitkiln.sim.engine import StallCause, widths_of
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.tiling import Objective, Tile, Tiling, Tuning, best_tiling
from bitkiln.sim.vector import vector
from bitkiln.sim.workload import Layer
from tests.sim.networks import convolution, layers
from tests.sim.tile_reference import Walk

PLAIN_DRAM = Dram(8e9, burst_bytes=1, row_bytes=1, row_miss_ns=0.0, row_hit_ns=0.0, latency_ns=0.0)  # 8 bytes a cycle


def hardware(*kilobytes: float, is_double_buffered: bool = False) -> Accelerator:
    """Memories for weights, activations and outputs of so many kB, or one for all."""
    accelerator = replace(find_accelerator("systolic-32"), dram=PLAIN_DRAM)
    kept = zip(accelerator.sram, kilobytes * (3 // len(kilobytes)), strict=True)
    srams = [
        replace(
            sram, capacity_bytes=round(1024 * size), word_bits=8, ports=1 << 20, is_double_buffered=is_double_buffered
        )
        for sram, size in kept
    ]
    if len(kilobytes) == 1:
        srams = [replace(srams[0], holds=tuple(Operand))]
    return replace(accelerator, sram=tuple(srams))


def setting(layer: Layer, accelerator: Accelerator, resident: Residence | None = None) -> Setting:
    return Setting(layer, widths_of(layer, accelerator), accelerator, resident=resident or Residence())


def best(layer: Layer, accelerator: Accelerator, objective: Objective = Objective.TRAFFIC) -> Tiling:
    """The best tiling for an engine that takes a cycle for 16 products."""
    tuning = Tuning(objective, find_technology("45nm"))
    return best_tiling(setting(layer, accelerator), steady(-(-layer.macs // 16)), tuning)


def steady(cycles: int) -> OnChip:
    """An engine to which all tilings are alike, with memories whose ports are never busy."""

    def none(tiles: Tilings) -> dict[Operand, tuple[Whole, Whole]]:
        return dict.fromkeys(Operand, (0 * tiles.filters, 0 * tiles.filters))

    return OnChip(lambda tiles: np.full(len(tiles.filters), cycles), none, cycles)


def best_if_any(layer: Layer, accelerator: Accelerator, objective: Objective = Objective.TRAFFIC) -> Tiling | None:
    try:
        return best(layer, accelerator, objective)
    except ToolError as error:
        if error.diagnostics[0].slug != "sram-too-small":
            raise
        return None


def walk(layer: Layer, tiling: Tiling) -> Walk:
    tile = tiling.tile
    return Walk(layer, tile.images, tile.rows, tile.filters, tile.channels, tile.order).run()


def traffic_bits(walked: Walk, accelerator: Accelerator) -> int:
    widths = widths_of(walked.layer, accelerator)
    moved = walked.weights * widths.weight + walked.inputs * widths.activation + walked.outputs * widths.output
    return moved + 2 * walked.spills * widths.accumulator


def fits(walked: Walk, accelerator: Accelerator) -> bool:
    layer, widths = walked.layer, widths_of(walked.layer, accelerator)
    rows = walked._positions()
    needs = {
        Operand.WEIGHTS: walked.filters * walked.channels * math.prod(layer.kernel) * widths.weight,
        Operand.ACTIVATIONS: max(map(walked._inputs, rows)) * walked.channels * widths.activation,
        Operand.OUTPUTS: walked.images * walked.rows * layer.output[1] * walked.filters * widths.accumulator,
    }
    return all(sum(needs[operand] for operand in sram.holds) <= sram.usable_bits for sram in accelerator.sram)


def every_walk(layer: Layer) -> list[Walk]:
    """All tile sizes and orders, not only those that the search tries."""
    height = layer.output[0]
    cuts = [(1, rows) for rows in range(1, height)] + [(images, height) for images in range(1, layer.batch + 1)]
    filters, channels = range(1, layer.group_filters + 1), range(1, layer.channels // layer.groups + 1)
    return [
        Walk(layer, images, rows, n, c, order)
        for (images, rows), n, c, order in itertools.product(cuts, filters, channels, ORDERS)
    ]


def test_sizes_are_the_least_for_every_number_of_tiles() -> None:
    assert list(sizes(1)) == [1]
    assert list(sizes(12)) == [1, 2, 3, 4, 6, 12]
    assert list(sizes(13)) == [1, 2, 3, 4, 5, 7, 13]
    assert list(sizes(100, 32)) == [32, 64, 100]
    for total in range(1, 200):
        counts = {-(-total // size) for size in range(1, total + 1)}
        assert list(sizes(total)) == sorted(-(-total // count) for count in counts)


@settings(max_examples=30)
@given(layers(most=4), st.sampled_from((0.0625, 0.125, 0.25, 1.0)), st.booleans())
def test_no_tiling_moves_less(layer: Layer, kilobytes: float, is_shared: bool) -> None:
    accelerator = hardware(kilobytes) if is_shared else hardware(kilobytes, kilobytes, kilobytes)
    possible = [candidate for candidate in every_walk(layer) if fits(candidate, accelerator)]
    assume(len(possible) < 1000)
    if not possible:
        with pytest.raises(ToolError, match=r"error\[sram-too-small\]"):
            best(layer, accelerator)
        return
    found = walk(layer, best(layer, accelerator))
    assert fits(found, accelerator)
    assert traffic_bits(found, accelerator) == min(traffic_bits(one.run(), accelerator) for one in possible)


LANES = Vector(4, 3)


def filled(walked: Walk) -> int:
    """Cycles of dot products: a part of the lanes stays empty in tiles that are no whole folds."""
    layer = walked.layer
    folds = [
        sum(-(-min(size, total - start) // lanes) for start in range(0, total, size))
        for total, size, lanes in (
            (layer.channels // layer.groups, walked.channels, LANES.input_lanes),
            (layer.group_filters, walked.filters, LANES.output_lanes),
        )
    ]
    return layer.groups * layer.positions * math.prod(layer.kernel) * folds[0] * folds[1]


@settings(max_examples=30)
@given(layers(most=6), st.sampled_from((0.0625, 0.125, 0.25, 1.0)))
def test_no_tiling_that_fills_the_lanes_moves_less(layer: Layer, kilobytes: float) -> None:
    accelerator = replace(hardware(kilobytes, kilobytes, kilobytes), vector=LANES, systolic=None)
    possible = [candidate for candidate in every_walk(layer) if fits(candidate, accelerator)]
    assume(0 < len(possible) < 1500)
    run = vector(layer, LANES, accelerator)
    on_chip = run.compute_cycles + sum(s.cycles for s in run.stalls if s.cause is StallCause.TILES)
    limit = max(run.compute_cycles, min(map(filled, possible))) / LEAST_SHARE
    assert on_chip <= limit
    fast = [candidate for candidate in possible if filled(candidate) <= limit]
    assert run.counts.bits(Level.DRAM) == min(traffic_bits(one.run(), accelerator) for one in fast)


@settings(max_examples=100)
@given(layers(), st.sampled_from((0.25, 0.5, 2.0)), st.sampled_from(Objective))
def test_traffic_is_that_of_tiles_walked_one_by_one(layer: Layer, kilobytes: float, objective: Objective) -> None:
    accelerator = hardware(kilobytes, kilobytes, 4 * kilobytes)
    tiling = best_if_any(layer, accelerator, objective)
    if tiling is None:
        return
    walked = walk(layer, tiling)
    assert tiling.weight_reads == walked.weights
    assert tiling.activation_reads == walked.inputs
    assert tiling.output_writes == walked.outputs == layer.output_count
    assert tiling.partial_writes == tiling.partial_reads == walked.spills


def pipeline(layer: Layer, accelerator: Accelerator, tiling: Tiling) -> float:
    """Cycles of load, compute and store, a step after the other; equal tiles, as the search has them."""
    walked, widths = walk(layer, tiling), widths_of(layer, accelerator)
    rate, steps = accelerator.dram_bytes_per_cycle * 8, walked.steps
    visits = sum(changed[2] for changed in steps)
    each = (
        walked.weights * widths.weight / sum(changed[0] for changed in steps) / rate,
        walked.inputs * widths.activation / sum(changed[1] for changed in steps) / rate,
        (walked.outputs * widths.output + 2 * walked.spills * widths.accumulator) / visits / rate,
    )
    store = (walked.outputs * widths.output + walked.spills * widths.accumulator) / visits / rate
    compute = tiling.compute_cycles / len(steps)
    total = each[0] + each[1] + compute + store
    for changed in steps[1:]:
        moves = [time for time, has_changed in zip(each, changed, strict=True) if has_changed]
        double = all(sram.is_double_buffered for sram in accelerator.sram)
        total += max(compute, sum(moves)) if double else compute + sum(moves)
    return total


@settings(max_examples=60)
@given(layers(), st.booleans())
def test_time_is_that_of_a_pipeline_of_steps(layer: Layer, is_double_buffered: bool) -> None:
    layer = replace(layer, channels=layer.channels // layer.groups, filters=layer.group_filters, groups=1)
    accelerator = hardware(1, 1, 4, is_double_buffered=is_double_buffered)
    tiling = best_if_any(layer, accelerator)
    if tiling is None:
        return
    assert tiling.cycles == pytest.approx(pipeline(layer, accelerator, tiling), abs=1.001)  # whole cycles


@given(layers(), st.sampled_from(Objective))
def test_more_memory_is_never_worse(layer: Layer, objective: Objective) -> None:
    """Of what is chosen for: energy apart, since a larger memory costs more an access."""
    if objective is Objective.ENERGY:
        objective = Objective.TRAFFIC
    costs = []
    for kilobytes in (0.25, 0.5, 1, 4, 64):
        accelerator = hardware(kilobytes, kilobytes, kilobytes)
        try:
            tiling = best(layer, accelerator, objective)
        except ToolError:
            continue
        costs.append(
            traffic_bits(walk(layer, tiling), accelerator) if objective is Objective.TRAFFIC else tiling.cycles
        )
    assert costs == sorted(costs, reverse=True)


@given(layers(), st.sampled_from(Objective))
def test_more_bandwidth_is_never_slower(layer: Layer, objective: Objective) -> None:
    cycles = []
    for rate in (1e8, 1e9, 1e10, 1e12):
        accelerator = replace(hardware(1, 1, 4), dram=replace(PLAIN_DRAM, bytes_per_second=rate))
        tiling = best_if_any(layer, accelerator, objective)
        if tiling is None:
            return
        cycles.append(tiling.cycles)
    assert cycles == sorted(cycles, reverse=True)


def test_energy_prefers_what_is_cheap() -> None:
    """With a price only on large memories, the tiling for energy spends less than the one for traffic, never more."""
    technology = find_technology("45nm")
    layer, accelerator = convolution(28, 64, 96, 3, padding=1), hardware(4, 8, 4)

    def price(tiling: Tiling) -> float:
        widths = widths_of(layer, accelerator)
        sram = {o: technology.sram_pj_per_bit(accelerator.memory(o).capacity_bits) for o in Operand}  # type: ignore[union-attr]  # all have one
        off, parts = (
            technology.dram.pj_per_bit,
            (
                (Operand.WEIGHTS, tiling.weight_reads * widths.weight),
                (Operand.ACTIVATIONS, tiling.activation_reads * widths.activation),
                (
                    Operand.OUTPUTS,
                    tiling.output_writes * widths.output + 2 * tiling.partial_writes * widths.accumulator,
                ),
            ),
        )
        return sum(bits * (off + sram[operand]) for operand, bits in parts)

    spent = {objective: price(best(layer, accelerator, objective)) for objective in Objective}
    assert spent[Objective.ENERGY] == min(spent.values())


def test_whole_groups_go_together() -> None:
    """1000 depthwise filters of 3 x 3 are not a thousand transfers of nine bytes."""
    layer = convolution(14, 960, 960, 3, padding=1, groups=960)
    tiling = best(layer, replace(hardware(64, 64, 64), dram=find_accelerator("systolic-32").dram))
    assert tiling.tile.groups > 50
    assert (tiling.weight_reads, tiling.activation_reads) == (960 * 9, 960 * 196)


def test_what_stays_is_not_fetched() -> None:
    layer = convolution(14, 8, 8, 3)
    accelerator = hardware(64, 64, 64)
    nothing = best_tiling(setting(layer, accelerator), steady(1000))
    stays = Residence(has_input=True, has_output=True, has_weights=True)
    everything = best_tiling(setting(layer, accelerator, stays), steady(1000))
    assert (nothing.weight_reads, nothing.activation_reads, nothing.output_writes) == (576, 1568, 1152)
    assert (everything.weight_reads, everything.activation_reads, everything.output_writes) == (0, 0, 0)
    assert everything.cycles == 1000


def test_a_transfer_is_whole_bursts_and_open_rows() -> None:
    dram = Dram(64e9, burst_bytes=64, row_bytes=1024, row_miss_ns=30.0, row_hit_ns=1.0, latency_ns=50.0)
    bits = np.array([0.0, 8.0, 512.0, 513.0, 8192.0, 8193.0])
    # 1 ns a burst, 30 ns for each row that is opened and 1 ns for each burst in an open row
    expected_ns = [0, 31, 31, 33, 16 + 30 + 15, 17 + 60 + 15]
    assert transfer_cycles(bits, dram, 1e9).tolist() == pytest.approx(expected_ns)


def test_smallest_tile_that_does_not_fit_says_what_it_needs() -> None:
    layer, accelerator = convolution(32, 16, 16, 5), hardware(0.0078125, 1, 0.0625)
    with pytest.raises(ToolError) as error:
        best(layer, accelerator)
    assert str(error.value) == (
        "error[sram-too-small]: layer conv does not fit on systolic-32 with the smallest tile, one output row of one "
        "filter and one channel: the sram for weights needs 25 bytes, not 8; the sram for outputs needs 112 bytes, "
        "not 64\n"
        "  help: raise capacity_bytes of the sram in the accelerator's file"
    )
    enough = hardware(25 / 1024, 1, 112 / 1024)
    assert best(layer, enough).tile.rows == 1
    doubled = replace(accelerator, sram=tuple(replace(s, is_double_buffered=True) for s in accelerator.sram))
    with pytest.raises(ToolError, match=r"the sram for weights needs 50 bytes, double buffered, not 8"):
        best(layer, doubled)


def test_a_tile_says_what_it_is() -> None:
    order = (Loop.FILTERS, Loop.POSITIONS, Loop.CHANNELS)
    assert str(Tile(1, 7, 64, 32, 1, order)) == "7 rows x 64 filters x 32 channels; filters > positions > channels"
    tile = Tile(4, 14, 1, 1, 96, order)
    assert str(tile) == "4 images x 1 filters x 1 channels x 96 groups; filters > positions > channels"
