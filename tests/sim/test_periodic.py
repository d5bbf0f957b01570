"""Which interval a Plan can run with, and the circle of waits that forbids a shorter one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim._network import Network
from bitkiln.sim._periodic import Circle, PeriodicSchedule
from bitkiln.sim.dataflow import DataflowCycles, dataflow_cycles
from tests.passes.random_graphs import networks
from tests.passes.small_graphs import residual


def settled(plan: Plan, interval: int) -> Circle | None:
    network = Network(plan)
    periodic = PeriodicSchedule(network, interval)
    for link in network.links:
        periodic.connect(link, link.stream.depth)
    return periodic.settle()


def solved(plan: Plan) -> DataflowCycles | None:
    """None if the plan stops for ever."""
    try:
        return dataflow_cycles(plan)
    except ToolError:
        return None


def test_names_the_full_queue_of_the_circle() -> None:
    plan = schedule(residual(), PlanOptions(max_multipliers=4, layers=(LayerFolding("conv", pe=2, simd=2),)))
    # The fork waits for a place in the skip path, the sum for the convolution, whose window waits for the fork.
    circle = settled(plan, 225)
    assert circle is not None
    assert (circle.queues, circle.images) == (frozenset({"fork_x.1"}), 0)  # within one image: it stops for ever


def test_a_queue_that_is_deep_enough_breaks_it() -> None:
    plan = schedule(residual(), PlanOptions(max_multipliers=4, layers=(LayerFolding("conv", pe=2, simd=2),)))
    streams = tuple(replace(stream, depth=9) if stream.name == "fork_x.1" else stream for stream in plan.streams)
    assert settled(replace(plan, streams=streams), 225) is None


@settings(max_examples=30)
@given(networks(), st.integers(1, 60), st.lists(st.integers(1, 12), min_size=6, max_size=6), st.integers(1, 40))
def test_settles_with_the_interval_of_the_cycle_model_and_none_that_is_shorter(
    graph: Graph, multipliers: int, depths: list[int], less: int
) -> None:
    plan = schedule(graph, PlanOptions(max_multipliers=multipliers + len(graph.nodes)))
    streams = tuple(
        replace(stream, depth=max(stream.depth, depths[number % len(depths)]))
        for number, stream in enumerate(plan.streams)
    )
    plan = replace(plan, streams=streams)
    cycles, longest = solved(plan), max(sequencer.steps for sequencer in Network(plan).sequencers)
    if cycles is None:
        circle = settled(plan, longest)
        assert circle is not None
        assert circle.cycles > longest * circle.images
        return
    assert settled(plan, cycles.interval) is None
    shorter = max(longest, cycles.interval - less)
    if shorter < cycles.interval:
        circle = settled(plan, shorter)
        assert circle is not None
        assert shorter * circle.images < circle.cycles <= cycles.interval * circle.images
