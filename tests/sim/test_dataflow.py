"""The cycle model against a plain simulation cycle by cycle, and what it says about particular plans."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim import _recurrence
from bitkiln.sim.dataflow import DataflowCycles, dataflow_cycles
from tests.passes.random_graphs import networks
from tests.passes.small_graphs import mlp, residual
from tests.sim.cycle_reference import run

IMAGES = 8


def with_depths(plan: Plan, seed: int) -> Plan:
    """The plan with queues of random depths, most of them too short."""
    draw = random.Random(seed)
    return replace(
        plan, streams=tuple(replace(stream, depth=draw.choice((1, 2, 3, 4, 5, 9, 30))) for stream in plan.streams)
    )


def solved(plan: Plan) -> DataflowCycles | None:
    """The cycles, or None if the plan stops for ever."""
    try:
        return dataflow_cycles(plan)
    except ToolError as error:
        return {"deadlock": None}[error.diagnostics[0].slug]


def assert_equals_reference(plan: Plan) -> None:
    cycles = solved(plan)
    if cycles is None:
        assert run(plan, 3000) == run(plan, 1500)
        return
    images = max(IMAGES, cycles.solved_images + 3 * cycles.period)
    first, last = cycles.input_cycles(images), cycles.output_cycles(images)
    inputs, outputs = run(plan, int(min(last[-1, -1], 6000)))
    # What the model says and the simulation has not come to yet is not compared.
    assert inputs[: first.size] == first.reshape(-1).tolist()[: len(inputs)]
    assert outputs[: last.size] == last.reshape(-1).tolist()[: len(outputs)]
    assert len(outputs) > 0


@settings(max_examples=80)
@given(networks(blocks=2), st.integers(0, 1 << 20), st.integers(1, 60))
def test_equals_simulation_cycle_by_cycle(graph: Graph, seed: int, multipliers: int) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
    if sum(stream.beats for stream in plan.streams) < 700:
        assert_equals_reference(with_depths(plan, seed))


@settings(max_examples=40)
@given(networks(blocks=2), st.integers(0, 1 << 20))
def test_event_by_event_equals_sweeps(graph: Graph, seed: int) -> None:
    plan = with_depths(schedule(graph, PlanOptions(max_multipliers=40)), seed)
    swept = solved(plan)
    if swept is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_recurrence, "MAX_SWEEPS", 0)
        single = dataflow_cycles(plan)
    images = swept.solved_images
    assert single.solved_images == images
    assert np.array_equal(single.input_cycles(images), swept.input_cycles(images))
    assert np.array_equal(single.output_cycles(images), swept.output_cycles(images))
    assert single.queue_peaks == swept.queue_peaks


def test_matrix_vector_takes_its_latency_once_and_its_steps_each_time() -> None:
    plan = schedule(mlp((8, 4)), PlanOptions(layers=(LayerFolding("fc1", pe=2, simd=4),)))
    cycles = dataflow_cycles(plan)
    # Steps 1 to 4 run in cycles 1 to 4. 2 and 4 push: into the queue after 8 cycles, out of it (a memory) 2 later.
    assert cycles.busy == {"fc1": 4}
    assert cycles.input_cycles(2).tolist() == [[0, 1], [2, 3]]
    assert cycles.output_cycles(2).tolist() == [[12, 14], [16, 18]]
    assert (cycles.latency, cycles.interval, cycles.period, cycles.period_cycles) == (15, 4, 1, 4)


def test_images_repeat_in_a_pattern_where_a_queue_holds_no_whole_number_of_them() -> None:
    plan = schedule(mlp((1, 7, 1)), PlanOptions(max_multipliers=2))
    depths = {"input": 3, "fc1": 5, "output": 8}
    plan = replace(plan, streams=tuple(replace(stream, depth=depths[stream.name]) for stream in plan.streams))
    cycles = dataflow_cycles(plan)
    assert_equals_reference(plan)
    assert cycles.period > 1
    assert cycles.interval == -(-cycles.period_cycles // cycles.period)
    outputs = cycles.output_cycles(40)[:, -1]
    assert set(outputs[-cycles.period :] - outputs[-2 * cycles.period : -cycles.period]) == {cycles.period_cycles}


def test_peak_is_what_the_queue_needs() -> None:
    plan = schedule(mlp((8, 4, 2)), PlanOptions(max_multipliers=2))
    before = dataflow_cycles(plan)
    fitted = tuple(replace(stream, depth=before.queue_peaks[stream.name]) for stream in plan.streams)
    after = dataflow_cycles(replace(plan, streams=fitted))
    assert np.array_equal(after.output_cycles(IMAGES), before.output_cycles(IMAGES))


def test_deadlock_names_the_stages_and_the_queue() -> None:
    plan = schedule(residual(), PlanOptions())
    with pytest.raises(ToolError) as caught:
        dataflow_cycles(plan)
    assert str(caught.value) == (
        "error[deadlock]: the plan of residual stops for ever: fork_x, conv.window, conv, sum wait for each other\n"
        "  help: deeper queues: fork_x.1 (2 places)"
    )
