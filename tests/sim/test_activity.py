"""Counts follow from the declaration: units against a walk through their steps, plans against their graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitkiln.ir import Graph, Plan
from bitkiln.ir.units import (
    AddStreams,
    Beat,
    Fork,
    MatrixVector,
    Pool,
    Reduction,
    Rescale,
    RescaleStream,
    Resize,
    Storage,
    TopKStream,
    Window,
)
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim._unit_counts import unit_counts
from bitkiln.sim.activity import HOST_LINK, plan_activity
from bitkiln.sim.counts import Access, Arithmetic, Counts, Level, Memory, Operation, Purpose, Role
from tests.passes.random_graphs import networks
from tests.sim.meters import (
    Meter,
    walk_add,
    walk_matrix_vector,
    walk_pool,
    walk_rescale_stream,
    walk_top_k,
    walk_window,
)

RESCALE = Rescale(bits=8, signed=True, lo=-128, hi=127, shift=6, multiplier=11)


def random_codes(*shape: int) -> NDArray[np.int64]:
    return np.random.default_rng(5).integers(-7, 8, shape)


def matrix_vector(
    groups: int, rows: int, columns: int, pe: int, simd: int, vectors: int = 3, shift: tuple[int, ...] = ()
) -> MatrixVector:
    return MatrixVector(
        vectors=vectors,
        groups=groups,
        rows=rows,
        columns=columns,
        pe=pe,
        simd=simd,
        input_bits=6,
        input_signed=True,
        weight_bits=4,
        accumulator_bits=15,
        bits=15,
        signed=True,
        lo=-100,
        hi=100,
        weights=random_codes(groups * rows, columns),
        bias=random_codes(groups * rows),
        shift=shift,
    )


@pytest.mark.parametrize(
    "unit",
    [
        matrix_vector(1, 4, 6, 2, 3),
        matrix_vector(1, 4, 6, 4, 3),
        matrix_vector(1, 4, 6, 2, 6),
        matrix_vector(1, 4, 6, 4, 6),
        matrix_vector(1, 5, 7, 1, 1, shift=(3,) * 5),
        matrix_vector(3, 2, 5, 1, 5, shift=(3, 4, 3, 4, 5, 9)),
        matrix_vector(3, 4, 10, 2, 5, vectors=2, shift=(-2,) * 12),
        matrix_vector(8, 1, 9, 1, 9, shift=tuple(range(8))),
        replace(matrix_vector(1, 6, 13, 3, 13), storage=Storage.LUT),
    ],
)
def test_matrix_vector_counts_what_its_steps_do(unit: MatrixVector) -> None:
    x = random_codes(unit.vectors, unit.groups, unit.columns)
    meter = Meter()
    weights = unit.weights.reshape(unit.groups, unit.rows, unit.columns)
    expected = np.einsum("vgc,grc->vgr", x, weights) + unit.bias.reshape(unit.groups, unit.rows)
    assert walk_matrix_vector(unit, x, meter) == expected.reshape(-1).tolist()
    assert unit_counts(unit).merged() == meter.counts()


@pytest.mark.parametrize(
    "unit",
    [
        Window(5, 4, 6, 2, 8, True, (3, 3), (1, 1), (1, 1), (1, 1), (5, 4)),
        Window(6, 6, 4, 4, 5, False, (2, 2), (2, 2), (0, 0), (1, 1), (3, 3)),
        Window(7, 5, 6, 1, 4, True, (3, 2), (2, 1), (1, 1), (2, 1), (3, 6), groups=3, pad_code=-3),
        Window(2, 2, 1, 1, 8, True, (1, 1), (1, 1), (0, 0), (1, 1), (2, 2)),
    ],
)
def test_window_counts_what_its_steps_do(unit: Window) -> None:
    x = random_codes(unit.height, unit.width, unit.channels)
    meter = Meter()
    windows = walk_window(unit, x, meter)
    (row_padding, column_padding) = unit.padding
    padded = np.pad(x, ((row_padding, 9), (column_padding, 9), (0, 0)), constant_values=unit.pad_code)
    first = padded[: unit.span[0] : unit.dilation[0], : unit.span[1] : unit.dilation[1], : unit.channels // unit.groups]
    assert windows[: first.size] == first.reshape(-1).tolist()
    assert len(windows) == unit.output_size[0] * unit.output_size[1] * unit.window_steps * unit.lanes
    assert unit_counts(unit).merged() == meter.counts()


@pytest.mark.parametrize("reduction", list(Reduction))
@pytest.mark.parametrize("rescale", [None, RESCALE, replace(RESCALE, multiplier=1), replace(RESCALE, shift=-2)])
@pytest.mark.parametrize("window", [1, 4])
def test_pool_counts_what_its_steps_do(reduction: Reduction, rescale: Rescale | None, window: int) -> None:
    unit = Pool(reduction, window, 5, 2, 6, True, 8, True, rescale)
    x = random_codes(5, window, 2)
    meter = Meter()
    results = walk_pool(unit, x, meter)
    if rescale is None:
        expected = x.max(1) if reduction is Reduction.MAX else x.sum(1)
        assert results == expected.reshape(-1).tolist()
    assert unit_counts(unit).merged() == meter.counts()


@pytest.mark.parametrize("rescale", [None, RESCALE])
def test_add_counts_what_its_steps_do(rescale: Rescale | None) -> None:
    unit = AddStreams(4, 3, Beat(3, 8, True), Beat(3, 6, True), (0, 3), 10, True, rescale)
    a, b = random_codes(12), random_codes(2, 12)[1]
    meter = Meter()
    results = walk_add(unit, a, b, meter)
    if rescale is None:
        assert results == (a + 8 * b).tolist()
    assert unit_counts(unit).merged() == meter.counts()


def test_requantise_counts_what_its_steps_do() -> None:
    unit = RescaleStream(5, 2, 17, True, RESCALE)
    x = random_codes(10) * 1000
    meter = Meter()
    assert walk_rescale_stream(unit, x, meter) == np.clip((x * 11 + 32) >> 6, -128, 127).tolist()
    assert unit_counts(unit).merged() == meter.counts()


@pytest.mark.parametrize(("k", "bits"), [(1, 10 * (12 + 4)), (3, 27 * (12 + 4) + 3 * 4)])
def test_top_k_counts_the_data_that_writes_most(k: int, bits: int) -> None:
    unit = TopKStream(10, 12, True, 4, k)
    ascending, descending = Meter(), Meter()
    assert walk_top_k(unit, np.arange(10), ascending) == [9, 8, 7][:k]
    assert walk_top_k(unit, -np.arange(10), descending) == [0, 1, 2][:k]
    assert unit_counts(unit).merged() == ascending.counts()
    most, fewer = (counter.counts().written_bits(Level.REGISTER) for counter in (ascending, descending))
    assert (most, fewer) == (bits, k * (12 + 4) + k * (k - 1) // 2 * 4)


def test_resize_holds_all_but_the_last_part_of_a_wide_beat() -> None:
    held = Memory("held beats", Level.REGISTER, Role.HELD_BEAT, 3 * 16, 16)
    # 24 elements make 3 wide beats, each of 4 parts.
    assert unit_counts(Resize(24, 2, 8, 8, True)) == Counts((), (Access(held, reads=9, writes=9),))
    assert unit_counts(Resize(24, 8, 2, 8, True)) == Counts()
    assert unit_counts(Fork(3, Beat(2, 8, True), 2)) == Counts()


@settings(max_examples=60)
@given(networks(), st.integers(1, 40))
def test_plan_counts_the_macs_of_its_graph_and_every_beat(graph: Graph, multipliers: int) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
    activity = plan_activity(plan)
    assert activity.total.macs == graph.total_macs
    assert [stage.name for stage in activity.stages] == [HOST_LINK, *(stage.name for stage in plan.stages)]
    assert_queues_move_every_beat_once(plan)


def assert_queues_move_every_beat_once(plan: Plan) -> None:
    accesses = [access for stage in plan_activity(plan).stages for access in stage.counts.accesses]
    queues = {access.memory.name: access for access in accesses if access.memory.role is Role.QUEUE}
    assert queues.keys() == plan.stream.keys()
    for stream in plan.streams:
        queue = queues[stream.name]
        assert (queue.reads, queue.writes) == (stream.beats, stream.beats)
        assert queue.memory.capacity_bits == stream.depth * stream.beat.width
        assert queue.memory.level is (Level.SRAM if stream.is_memory else Level.REGISTER)


def test_host_link_and_weights(plan: Plan) -> None:
    activity = plan_activity(plan)
    source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
    dram = [access for access in activity.total.accesses if access.memory.level is Level.DRAM]
    assert {access.memory.role for access in dram} == {Role.HOST_LINK}
    assert activity.total.read_bits(Level.DRAM) == source.beats * source.beat.width
    assert activity.total.written_bits(Level.DRAM) == sink.beats * sink.beat.width

    fetching = activity.with_weights_from_dram()
    products = [stage.unit for stage in plan.stages if isinstance(stage.unit, MatrixVector)]
    weight_bits = sum(unit.weights.size * unit.weight_bits for unit in products)
    assert activity.weight_bits == weight_bits == (4 * 9 + 3 * 64) * 8
    assert fetching.total.read_bits(Level.DRAM) == activity.total.read_bits(Level.DRAM) + weight_bits
    assert fetching.total.bits(Level.SRAM) == activity.total.bits(Level.SRAM)
    assert fetching.total.arithmetic == activity.total.arithmetic


def test_depths_and_clock_change_no_count_but_where_queues_lie(plan: Plan) -> None:
    deeper = replace(plan, streams=tuple(replace(stream, depth=64) for stream in plan.streams), clock_hz=1.0)
    before, after = plan_activity(plan).total, plan_activity(deeper).total
    assert before.arithmetic == after.arithmetic
    moved = [total.bits(Level.SRAM) + total.bits(Level.REGISTER) for total in (before, after)]
    assert moved[0] == moved[1]
    assert after.bits(Level.SRAM) > before.bits(Level.SRAM)


def test_merged_joins_what_is_alike() -> None:
    def access(name: str, capacity_bits: int) -> Access:
        return Access(Memory(name, Level.SRAM, Role.QUEUE, capacity_bits, 8), reads=2, writes=3)

    add = Arithmetic(Operation.ADD, Purpose.TREE, (8, 8), 4)
    wide = replace(add, bits=(9, 9))
    nothing = replace(add, bits=(1, 1), count=0)
    counts = Counts((wide, add, add, nothing), (access("a", 64), access("b", 32), access("c", 64)))
    assert counts.merged() == Counts(
        (replace(add, count=8), wide),
        (access("", 32), Access(Memory("", Level.SRAM, Role.QUEUE, 64, 8), reads=4, writes=6)),
    )
    assert counts.merged().merged() == counts.merged()
    assert counts.operations(Operation.ADD) == counts.merged().operations(Operation.ADD) == 12
    assert (counts.read_bits(Level.SRAM), counts.written_bits(Level.SRAM)) == (3 * 2 * 8, 3 * 3 * 8)
