"""A small plan with a convolution, a pooling and a linear layer."""

from __future__ import annotations

import pytest

from bitkiln.ir import Graph, Plan
from bitkiln.ir.ops import MaxPool2d, Relu, Reshape
from bitkiln.passes import Quantise
from bitkiln.passes.schedule import PlanOptions, schedule
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
