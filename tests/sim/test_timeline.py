"""What stalls whom: the cycles of each unit add up exactly, and each wait is one that a plain simulation sees, too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Graph, Plan
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim._stalls import Cause
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.image_cycles import image_output_cycles, image_timeline
from bitkiln.sim.queues import size_queues
from bitkiln.sim.timeline import MOST_SPANS, UnitRow, Window, plan_timeline
from tests.passes.random_graphs import networks
from tests.passes.small_graphs import mlp
from tests.passes.sparse_graphs import pruned_cnn, pruned_mlp
from tests.sim.cycle_reference import Reasons, run_with_reasons
from tests.sim.test_dataflow import solved, with_depths


def assert_adds_up(window: Window) -> None:
    """Every cycle of every unit is accounted for once: in the totals, in the spans and in the unit's parts."""
    for row in window.rows:
        assert row.busy + row.stalled == window.cycles
        assert len(row.spans) <= MOST_SPANS
        assert [sum(column) for column in zip(*(span.counts for span in row.spans), strict=True)] == [
            row.busy,
            *(cycles for _, cycles in row.waits),
        ]
        assert all(sum(span.counts) == span.cycles > 0 for span in row.spans)
        for part in row.parts:
            assert part.busy + sum(cycles for _, cycles in part.waits) == window.cycles
            assert part.busy <= row.busy
        assert not row.parts or row.busy <= sum(part.busy for part in row.parts)


def assert_seen(row: UnitRow, seen: list[Reasons], begin: int) -> None:
    """In each cycle that the row tells exactly, the simulation saw a step, or what the unit waited for was missing."""
    cycle = begin
    for span in row.spans:
        if max(span.counts) == span.cycles:
            state = span.counts.index(span.cycles)
            for reasons in seen[cycle : cycle + span.cycles]:
                if state == 0:
                    assert reasons.has_stepped
                else:
                    wait, _ = row.waits[state - 1]
                    assert not reasons.has_stepped
                    assert wait.cause is Cause.UNIT or (wait.cause.value, wait.stream) in reasons.missing
        else:
            steps = sum(reasons.has_stepped for reasons in seen[cycle : cycle + span.cycles])
            assert steps == span.counts[0]
        cycle += span.cycles


@settings(max_examples=40)
@given(networks(blocks=2), st.integers(0, 1 << 20), st.integers(1, 60))
def test_first_image_equals_simulation_cycle_by_cycle(graph: Graph, seed: int, multipliers: int) -> None:
    plan = with_depths(schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes))), seed)
    if sum(stream.beats for stream in plan.streams) > 500 or solved(plan) is None:
        return
    found = plan_timeline(plan)
    if found is None:
        return
    assert found.first.cycles == dataflow_cycles(plan).latency
    assert [row.unit for row in found.first.rows] == ["the input", *(s.name for s in plan.stages), "the output"]
    assert_adds_up(found.first)
    reasons = run_with_reasons(plan, found.first.cycles)
    for row in found.first.rows:
        assert_seen(row, reasons[row.unit], 0)


def steady_of(plan: Plan) -> Window | None:
    found = plan_timeline(plan)
    return found.steady if found else None


@settings(max_examples=40)
@given(networks(blocks=3), st.integers(0, 1 << 20), st.integers(1, 60))
def test_steady_state_adds_up(graph: Graph, seed: int, multipliers: int) -> None:
    plan = with_depths(schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes))), seed)
    cycles = solved(plan)
    if cycles is None:
        return
    steady = steady_of(plan)
    if steady is None:
        return
    assert (steady.cycles, steady.images) == (cycles.period_cycles, cycles.period)
    assert_adds_up(steady)
    for row in steady.rows[1:-1]:
        most = max((part.busy for part in row.parts), default=row.busy)
        assert most == cycles.busy[row.unit] * steady.images


def test_steady_state_equals_simulation_cycle_by_cycle() -> None:
    plan = schedule(mlp((8, 6, 4)), PlanOptions(max_multipliers=4))
    steady = steady_of(plan)
    assert steady is not None
    cycles = dataflow_cycles(plan)
    begin = int(cycles.input_cycles(cycles.solved_images + 1)[-1, 0])
    reasons = run_with_reasons(plan, begin + steady.cycles)
    for row in steady.rows:
        assert_seen(row, reasons[row.unit], begin)


def test_the_slowest_unit_stalls_the_others() -> None:
    folding = (LayerFolding("fc1", pe=1, simd=1), LayerFolding("fc2", pe=4, simd=4))
    plan = size_queues(schedule(mlp((8, 16, 4)), PlanOptions(layers=folding)))
    steady = steady_of(plan)
    assert steady is not None
    rows = {row.unit: row for row in steady.rows}
    assert steady.cycles == 8 * 16
    assert (rows["fc1"].busy, rows["fc1"].waits) == (8 * 16, ())
    [(wait, cycles)] = rows["fc2"].waits
    assert (rows["fc2"].busy, cycles, wait.cause) == (4, 8 * 16 - 4, Cause.INPUT)
    assert {wait.cause for wait, _ in rows["the input"].waits} == {Cause.ROOM}


def codes_of(plan: Plan, images: int, density: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    draw = np.random.default_rng(0)
    low, high = plan.stream[plan.input_stream].beat.code_range
    codes = draw.integers(max(low, -8), min(high, 7) + 1, (images, len(plan.input_order)))
    return codes * (draw.random(codes.shape) < density)


def totals(window: Window) -> list[tuple[str, int, dict[tuple[str, str], int]]]:
    return [(row.unit, row.busy, {(w.cause.value, w.stream): cycles for w, cycles in row.waits}) for row in window.rows]


@pytest.mark.parametrize("graph", [mlp((8, 6, 4)), pruned_mlp((12, 8, 4), (0.2, 0.2))], ids=lambda graph: graph.name)
def test_images_have_the_timeline_of_the_plan_where_they_do_not_matter(graph: Graph) -> None:
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=6)))
    by_plan, by_images = plan_timeline(plan), image_timeline(plan, codes_of(plan, 12, 1.0))
    assert by_plan is not None
    assert by_images is not None
    assert totals(by_images.first) == totals(by_plan.first)
    assert by_images.steady is not None
    assert by_plan.steady is not None
    assert by_images.steady.cycles == by_plan.steady.cycles
    assert [row[1] for row in totals(by_images.steady)] == [row[1] for row in totals(by_plan.steady)]


@pytest.mark.parametrize("graph", [pruned_cnn(), pruned_mlp((60, 24, 8), (0.1, 0.2))], ids=lambda graph: graph.name)
def test_units_that_skip_zeros(graph: Graph) -> None:
    wish = LayerFolding("fc*", skip_zeros=True)
    plan = size_queues(schedule(graph, PlanOptions(max_multipliers=12, layers=(wish,))))
    codes = codes_of(plan, 12, 0.3)
    found = image_timeline(plan, codes)
    assert found is not None
    assert found.steady is not None
    assert_adds_up(found.first)
    assert_adds_up(found.steady)
    ends = image_output_cycles(plan, codes[: found.samples])[:, -1]
    assert found.first.cycles == ends[0] + 1
    assert found.steady.cycles in np.diff(ends)


def test_too_few_images_for_a_timeline() -> None:
    plan = schedule(mlp((8, 16, 16, 4)), PlanOptions(max_multipliers=4))
    assert image_timeline(plan, codes_of(plan, 1, 1.0)) is None
