"""Functions of floats in quantised graphs: tables between codes, products of values, and what the host computes."""

from __future__ import annotations

import pytest
import torch

from bitkiln.ir import Float, Graph, Int, evaluate, exact_dtype
from bitkiln.ir.ops import (
    Add,
    Div,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    LogSoftmax,
    Mish,
    Mul,
    Op,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Tanh,
)
from bitkiln.ir.units import LookupStream, MultiplyStreams
from bitkiln.passes import Quantise
from bitkiln.passes.calibrate import Calibration
from bitkiln.passes.schedule import PlanOptions, schedule

from .networks import Network, context, gated, samples

FUNCTIONS = (
    *(Sigmoid(), Tanh(), Silu(), HardSigmoid(), HardSwish(), Gelu(), LeakyRelu(0.1)),
    *(Elu(1.0), Softplus(1.0, 20.0), Mish()),
)

QUANTISE = Quantise(calibration=Calibration.MIN_MAX)


def with_function(op: Op) -> Graph:
    network = Network((6,))
    y = network.op(op, network.linear(network.x, 8, "fc1"), name="function")
    return network.graph(network.linear(y, 3, "fc2"))


def error(graph: Graph, quantised: Graph) -> float:
    x = samples(graph)  # the calibration's: nothing saturates
    wanted, found = evaluate(graph, x)[0], evaluate(quantised, x)[0]
    return float((wanted - found).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.name)
def test_each_function_becomes_a_table(op: Op) -> None:
    graph = with_function(op)
    quantised = QUANTISE.run(graph, context(graph))
    assert error(graph, quantised) < 0.05
    plan = schedule(quantised, PlanOptions())
    (table,) = [stage.unit for stage in plan.stages if isinstance(stage.unit, LookupStream)]
    assert (table.inputs[0].bits, table.outputs[0].bits) == (10, 8)
    assert table.outputs[0].signed is not isinstance(op, Sigmoid | HardSigmoid | Softplus)


def test_the_width_before_a_function_ends_at_what_a_table_takes() -> None:
    graph = with_function(Tanh())
    for bits, wanted in ((4, 6), (8, 10), (9, 10), (12, 12)):
        quantised = Quantise(activation_bits=bits).run(graph, context(graph))
        before = quantised.types["fc1_requantise"].number
        assert isinstance(before, Int)
        assert before.bits == wanted


def test_a_gate_multiplies_and_a_softmax_stays_with_the_host() -> None:
    graph = gated()
    quantised = QUANTISE.run(graph, context(graph))
    assert error(graph, quantised) < 0.05
    kinds = [type(stage.unit) for stage in schedule(quantised, PlanOptions()).stages]
    assert kinds.count(MultiplyStreams) == 1
    assert kinds.count(LookupStream) == 2
    last = quantised.node[quantised.outputs[0]]
    assert isinstance(last.op, Softmax)
    assert isinstance(quantised.types[quantised.node[last.args[0]].args[0]].number, Int)


def test_constants_of_one_element_are_part_of_a_function() -> None:
    network = Network((6,))
    y = network.op(Mul(), network.linear(network.x, 8, "fc1"), network.const("half", torch.tensor([0.5])))
    y = network.op(Add(), network.const("one", torch.tensor([1.0])), network.op(Tanh(), y))
    y = network.op(Div(), y, network.const("two", torch.tensor([2.0])))
    graph = network.graph(network.linear(y, 3, "fc2"))
    quantised = QUANTISE.run(graph, context(graph))
    assert error(graph, quantised) < 0.05
    assert len(schedule(quantised, PlanOptions()).stages) > 4


def test_what_no_codes_depend_on_is_evaluated_as_before() -> None:
    network = Network((6,))
    graph = network.graph(network.op(LogSoftmax(1), network.linear(network.x, 3, "fc")))
    quantised = Quantise().run(graph, context(graph))
    assert exact_dtype(quantised) is torch.float32
    assert quantised.types[quantised.outputs[0]].number == Float()
    graph = with_function(Silu())
    assert exact_dtype(Quantise().run(graph, context(graph))) is torch.float64
