"""Queues that let a Plan run as fast as its slowest unit."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.hdl.random_network import RandomNetwork
from bitkiln.hdl.random_plan import random_plan
from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.passes._folding import fold
from bitkiln.passes._lowering import lower
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import best_interval, size_queues
from tests.passes.random_graphs import networks
from tests.passes.small_graphs import mlp, residual, two_convolutions


def depths(plan: Plan) -> dict[str, int]:
    return {stream.name: stream.depth for stream in plan.streams}


def deepened(before: Plan, after: Plan) -> dict[str, int]:
    return {name: depth for name, depth in depths(after).items() if depth != depths(before)[name]}


def with_depth(plan: Plan, name: str, depth: int) -> Plan:
    return replace(
        plan, streams=tuple(replace(stream, depth=depth) if stream.name == name else stream for stream in plan.streams)
    )


def reaches(plan: Plan, interval: int) -> bool:
    try:
        return dataflow_cycles(plan).interval <= interval
    except ToolError:
        return False


def test_deepens_the_skip_path_of_a_residual_block_and_nothing_else() -> None:
    plan = schedule(residual(), PlanOptions(max_multipliers=4, layers=(LayerFolding("conv", pe=2, simd=2),)))
    sized = size_queues(plan)
    # The window of the first position waits for 7 beats of x; in the time to its sum two more come.
    assert deepened(plan, sized) == {"fork_x.1": 9}
    assert dataflow_cycles(sized).interval == best_interval(plan) == 225


def test_leaves_a_plan_alone_that_is_as_fast_as_its_slowest_unit() -> None:
    plan = schedule(mlp((16, 8, 4)), PlanOptions(max_multipliers=2))
    assert dataflow_cycles(plan).interval == best_interval(plan) == 128
    assert depths(size_queues(plan)) == depths(plan)


def test_deepens_a_queue_that_bridges_the_gap_between_images() -> None:
    plan = schedule(two_convolutions(), PlanOptions(max_multipliers=8))
    sized = size_queues(plan)
    assert dataflow_cycles(plan).busy["conv1"] == best_interval(plan) == 1152
    assert dataflow_cycles(plan).interval == 1157
    assert deepened(plan, sized) == {"conv1.window": 9}
    assert dataflow_cycles(sized).interval == 1152


def test_best_interval_counts_what_a_window_waits_for_itself() -> None:
    plan = schedule(two_convolutions(), PlanOptions(max_multipliers=12))
    assert max(dataflow_cycles(plan).busy.values()) == 576
    assert best_interval(plan) == 590
    assert dataflow_cycles(size_queues(plan)).interval == 590


def test_same_plan_same_depths() -> None:
    plan = schedule(residual(), PlanOptions())
    assert depths(size_queues(plan)) == depths(size_queues(plan))


@settings(max_examples=60)
@given(networks(), st.integers(1, 60))
def test_every_plan_reaches_its_best_interval_and_each_added_place_is_needed(graph: Graph, multipliers: int) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
    best, sized = best_interval(plan), size_queues(plan)
    assert reaches(sized, best)
    for stream in sized.streams:
        assert stream.depth >= depths(plan)[stream.name]
        if stream.depth > depths(plan)[stream.name]:
            assert not reaches(with_depth(sized, stream.name, stream.depth - 1), best)


def test_no_place_is_left_that_only_a_deeper_queue_beside_it_needed() -> None:
    """On the way one queue was a memory, which shows a beat a cycle later than the registers that it ended as."""
    plan = random_plan(replace(RandomNetwork.drawn(71), queues=0))
    best = best_interval(plan)
    assert depths(plan)["fork_depthwise1.codes.1"] == 46
    assert reaches(plan, best)
    assert not reaches(with_depth(plan, "fork_depthwise1.codes.1", 45), best)


@settings(max_examples=30)
@given(networks(blocks=2), st.integers(1, 30))
def test_no_depth_beats_the_best_interval(graph: Graph, multipliers: int) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
    deep = replace(plan, streams=tuple(replace(stream, depth=2 * stream.beats + 40) for stream in plan.streams))
    assert dataflow_cycles(deep).interval == best_interval(plan)


@settings(max_examples=60)
@given(networks(), st.integers(1, 60))
def test_folding_knows_the_best_interval(graph: Graph, multipliers: int) -> None:
    """What the schedule balances is what the cycle model then finds, windows included."""
    lowered, options = lower(graph), PlanOptions(max_multipliers=multipliers + len(graph.nodes))
    converters = [stage.unit.timing()[0].steps for stage in schedule(graph, options).stages if ".resize" in stage.name]
    layers = [layer.interval(folding) for layer, folding in fold(lowered, options)]
    assert max(*layers, *converters, 0) == best_interval(schedule(graph, options))
