"""A small network with a convolution, a pooling and a linear layer: its graphs, its plan and its report."""

from __future__ import annotations

import pytest

from bitkiln.boards import ICEBREAKER, Resources
from bitkiln.ir import Graph, Plan
from bitkiln.ir.ops import MaxPool2d, Relu, Reshape
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.design import Design
from bitkiln.sim.report import (
    Accuracy,
    BuildFacts,
    Model,
    Prediction,
    RecipeStep,
    Report,
    Storage,
    Verification,
)
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.timeline import plan_timeline
from tests.passes.networks import Network, context


@pytest.fixture(scope="session")
def float_graph() -> Graph:
    network = Network((1, 10, 10))
    x = network.op(Relu(), network.conv(network.x, 4, "conv1"), name="relu1")
    x = network.op(MaxPool2d((2, 2), (2, 2)), x, name="pool1")
    x = network.op(Reshape((1, 64)), x, name="flatten")
    return network.graph(network.linear(x, 3, "fc"))


@pytest.fixture(scope="session")
def quantised_graph(float_graph: Graph) -> Graph:
    return Quantise().run(float_graph, context(float_graph))


@pytest.fixture(scope="session")
def plan(quantised_graph: Graph) -> Plan:
    return schedule(quantised_graph, PlanOptions(clock_mhz=12, max_multipliers=8))


@pytest.fixture(scope="session")
def design(plan: Plan) -> Design:
    return Design.of(plan, dataflow_cycles(plan), find_technology("45nm"))


@pytest.fixture(scope="session")
def full(float_graph: Graph, quantised_graph: Graph, plan: Plan, design: Design) -> Report:
    return Report(
        model=Model.of(float_graph, float_graph.params),
        storage=Storage.of(float_graph, quantised_graph),
        accuracy=Accuracy(0.9875, 0.98, 400),
        design=design,
        verification=Verification(
            images=250,
            mismatches=0,
            rtl_latency=design.latency_cycles,
            rtl_interval=design.interval_cycles,
            simulator="Verilator 5.048",
        ),
        board=ICEBREAKER,
        build=BuildFacts(Resources(lut=2112, ff=900, bram=6, dsp=8), 21.5, "build/top.bin", 104090),
        link_images_per_second=95.2,
        recipe=(
            RecipeStep("import", "", 0.9875, 235, 7520),
            RecipeStep("quantise", "weight_bits = 8", 0.98, 235, 2048),
        ),
        timeline=plan_timeline(plan),
        prediction=Prediction(Resources(lut=2000, ff=900, bram=6, dsp=8), 24.5),
        commands=("bitkiln run project.toml", "bitkiln report"),
        tools=("bitkiln 0.1.0", "yosys 0.70"),
        digests=(("top.bin", "0123456789abcdef" * 4),),
    )


@pytest.fixture(scope="session")
def bare(full: Report) -> Report:
    return Report(full.model)
