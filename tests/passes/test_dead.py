"""Dead channels: removed, and the function is the same."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitkiln.ir import Builder, Float, Graph, Int, TensorType, evaluate, verify
from bitkiln.ir.ops import Conv2d, Linear, Relu
from bitkiln.passes import RemoveDead, Share, read_passes
from bitkiln.passes.dead import remove_dead
from tests.ir.random_graphs import random_input
from tests.passes import random_graphs
from tests.passes.channel_networks import SAME, CoupledNetwork, coupled_networks, with_zero_slices
from tests.passes.networks import Network, context, mlp


def shape(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.types[name].shape


def changed(graph: Graph, name: str, rows: list[int], axis: int) -> Graph:
    """The graph with some slices of a weight at zero."""
    graph.const[name].data.index_fill_(axis, torch.tensor(rows), 0)
    return graph


@settings(max_examples=30, deadline=None)
@given(graph=coupled_networks(), seed=st.integers(0, 999), share=st.sampled_from([0.2, 0.5, 0.8]))
def test_floats_keep_the_function(graph: Graph, seed: int, share: float) -> None:
    graph = with_zero_slices(graph, seed, share)
    small = verify(remove_dead(graph))
    assert small.params <= graph.params
    x = random_input(graph, 3, seed)[0].double()
    torch.testing.assert_close(evaluate(small, x)[0], evaluate(graph, x)[0], rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(graph=random_graphs.networks(), seed=st.integers(0, 999), share=st.sampled_from([0.3, 0.7]))
def test_codes_keep_every_bit(graph: Graph, seed: int, share: float) -> None:
    graph = with_zero_slices(graph, seed, share)
    inputs = random_input(graph, 3, seed)
    assert torch.equal(evaluate(remove_dead(graph), *inputs)[0].double(), evaluate(graph, *inputs)[0].double())


def test_a_neuron_without_output_goes_and_what_fed_only_it() -> None:
    graph = changed(mlp((4, 5, 6, 3)), "fc3.weight", [0, 2], 1)
    graph.const["fc2.weight"].data[[1, 3, 4, 5], 4] = 0
    small = remove_dead(graph)
    assert (shape(small, "fc3.weight"), shape(small, "fc2.weight")) == ((3, 4), (4, 4))
    assert shape(small, "fc1.weight") == (4, 4)


def test_a_neuron_without_input_moves_into_the_next_bias() -> None:
    graph = changed(mlp((4, 5, 3)), "fc1.weight", [1, 4], 0)
    graph.const["fc1.bias"].data[[1, 4]] = torch.tensor([2.0, -1.0])
    small = remove_dead(graph)
    assert shape(small, "fc1.weight") == (3, 4)
    expected = graph.const["fc2.bias"].data + 2 * graph.const["fc2.weight"].data[:, 1]  # the other one is below zero
    torch.testing.assert_close(small.const["fc2.bias"].data, expected)


def test_a_bias_is_made_where_there_is_none() -> None:
    network = Network((4,))
    hidden = network.op(Relu(), network.linear(network.x, 3, "fc1"))
    graph = changed(network.graph(network.linear(hidden, 2, "fc2", bias=False)), "fc1.weight", [0], 0)
    graph.const["fc1.bias"].data[0] = 1.0
    small = remove_dead(graph)
    torch.testing.assert_close(small.const["fc2.bias"].data, graph.const["fc2.weight"].data[:, 0])


def test_padding_keeps_what_is_not_zero() -> None:
    network = CoupledNetwork((1, 4, 4))
    x = network.op(Relu(), network.conv(network.x, 3, "a", size=1))
    graph = changed(network.graph(network.conv(x, 2, "b", Conv2d(padding=SAME))), "a.weight", [0, 1], 0)
    graph.const["a.bias"].data[:2] = torch.tensor([1.0, -1.0])
    small = remove_dead(graph)
    assert shape(small, "a.weight") == (2, 1, 1, 1)  # that below zero went
    assert float(small.const["a.bias"].data[0]) == 1.0


def test_one_channel_stays() -> None:
    graph = changed(mlp((4, 3, 2)), "fc2.weight", [0, 1, 2], 1)
    assert shape(remove_dead(graph), "fc1.weight") == (1, 4)


def test_outputs_stay() -> None:
    graph = changed(mlp((4, 3)), "fc1.weight", [0], 0)
    assert remove_dead(graph) is graph or shape(remove_dead(graph), "fc1.weight") == (3, 4)


def test_shared_weights_are_cut_by_their_indices() -> None:
    graph = changed(mlp((4, 8, 3)), "fc2.weight", [0, 5], 1)
    graph = changed(graph, "fc1.weight", [0], 0)
    shared = Share(2).run(graph, context(graph))
    small = remove_dead(shared)
    assert shape(small, "fc2.weight") == (3, 6)
    x = random_input(graph, 3, 0)[0]
    torch.testing.assert_close(evaluate(small, x)[0], evaluate(shared, x)[0])


def test_a_constant_bias_of_codes_grows() -> None:
    build = Builder("codes")
    number = Int(8, True, 0)
    x = build.input("x", TensorType((1, 2), number))
    first = build.constant("w1", TensorType((2, 2), number), torch.tensor([[0, 0], [1, 1]], dtype=torch.int8))
    bias = build.constant("b1", TensorType((2,), number), torch.tensor([100, 0], dtype=torch.int8))
    second = build.constant("w2", TensorType((1, 2), number), torch.tensor([[100, 1]], dtype=torch.int8))
    hidden = build.add(Linear(), (x, first, bias), "fc1")
    small = remove_dead(build.graph((build.add(Linear(), (hidden, second), "fc2"),)))
    assert small.const["fc2.bias"].data.tolist() == [10000]
    assert str(small.types["fc2.bias"]) == "i15.f0[1]"


def test_it_is_a_pass() -> None:
    (step,) = read_passes([{"name": "remove_dead"}], "here")
    assert step == RemoveDead()
    graph = changed(mlp((4, 5, 3)), "fc2.weight", [0], 1)
    assert shape(step.run(graph, context(graph)), "fc1.weight") == (4, 4)
    assert graph.types["fc1"].number == Float()
