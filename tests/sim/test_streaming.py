"""The generated hardware among the accelerators: its cycles and energy are those of the design."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitkiln.ir import Graph, Plan, ToolError
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.accelerator import Streaming, find_accelerator
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.design import Design
from bitkiln.sim.graph_workload import workload_of
from bitkiln.sim.queues import size_queues
from bitkiln.sim.simulate import simulate
from bitkiln.sim.streaming import simulate_graph, simulate_plan
from bitkiln.sim.technologies import find_technology

TECHNOLOGY = find_technology("45nm")


def test_numbers_are_those_of_the_design(plan: Plan, design: Design) -> None:
    found = simulate_plan(plan, find_accelerator("dataflow"), TECHNOLOGY)
    assert found.cycles == design.latency_cycles
    assert found.energy.total_pj == pytest.approx(design.energy.total_pj)
    assert dict(found.energy) == pytest.approx(dict(design.energy.by_kind))
    assert found.counts == design.activity.total
    assert [run.layer.name for run in found.runs] == ["conv1", "fc"]
    busy = {layer.name: layer.busy_cycles for layer in design.layers}
    assert [run.compute_cycles for run in found.runs] == [busy["layers.conv1"], busy["layers.fc"]]
    assert found.compute_cycles == max(busy.values())
    assert 0 < found.utilisation <= 1


def test_images_follow_each_other_without_a_pause(plan: Plan, design: Design) -> None:
    one, four = (simulate_plan(plan, find_accelerator("dataflow"), TECHNOLOGY, batch) for batch in (1, 4))
    assert four.cycles == design.latency_cycles + 3 * design.interval_cycles
    assert four.energy.total_pj == pytest.approx(4 * one.energy.total_pj)
    assert four.counts.macs == 4 * one.counts.macs
    assert four.to_plain()["total"]["cycles"] == four.cycles  # type: ignore[index]  # plain data


def test_a_graph_is_folded_to_the_multipliers_there_are(quantised_graph: Graph) -> None:
    accelerator = find_accelerator("dataflow")
    small, large = (replace(accelerator, streaming=Streaming(count)) for count in (2, 16))
    cycles = [simulate_graph(quantised_graph, one, TECHNOLOGY).cycles for one in (small, large)]
    assert cycles[0] > cycles[1]
    options = PlanOptions(clock_mhz=12, max_multipliers=2)
    assert cycles[0] == dataflow_cycles(size_queues(schedule(quantised_graph, options))).latency


def test_other_accelerators_take_the_same_graph(quantised_graph: Graph) -> None:
    accelerator = find_accelerator("systolic-32")
    found = simulate_graph(quantised_graph, accelerator, TECHNOLOGY, batch=2)
    assert found == simulate(workload_of(quantised_graph, 2), accelerator, TECHNOLOGY)


def test_floats_are_not_generated(float_graph: Graph) -> None:
    with pytest.raises(ToolError, match="must be quantised first of all"):
        simulate_graph(float_graph, find_accelerator("dataflow"), TECHNOLOGY)
