"""The layers of a Graph: as many products as the graph has, in the right sizes, formats and order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bitkiln.ir import Builder, Float, Graph, TensorType
from bitkiln.ir.ops import Add, Attention, Conv2d, ConvTranspose2d, Linear, MatMul, MaxPool2d, Relu, Reshape
from bitkiln.sim.graph_workload import workload_of
from bitkiln.sim.workload import LayerKind
from tests.passes.networks import Network


def float_type(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_layers_are_the_products_of_the_graph(float_graph: Graph) -> None:
    workload = workload_of(float_graph, batch=3)
    conv, fc = workload.layers
    assert (workload.name, workload.batch) == (float_graph.name, 3)
    assert (conv.kind, conv.kernel, conv.channels, conv.filters, conv.output) == (
        LayerKind.CONVOLUTION,
        (3, 3),
        1,
        4,
        (8, 8),
    )
    assert (fc.kind, fc.channels, fc.filters, fc.output) == (LayerKind.MATRIX, 64, 3, (1, 1))
    assert workload.macs == 3 * float_graph.total_macs
    assert [layer.name for layer in workload.layers] == ["conv1", "fc"]
    assert conv.place == "model.py:7 (layers.conv1)"
    assert dict(workload.other) == {"max_pool2d": 1, "relu": 1, "reshape": 1}


def test_a_layer_reads_the_one_before_through_what_is_done_in_passing(float_graph: Graph) -> None:
    assert [layer.source for layer in workload_of(float_graph).layers] == ["", "conv1"]


def test_a_value_that_is_read_twice_is_no_source() -> None:
    network = Network((4, 8, 8))
    a = network.conv(network.x, 4, "a")
    b = network.conv(a, 4, "b")
    both = network.op(Add(), b, b, name="sum")
    workload = workload_of(network.graph(network.conv(both, 4, "c")))
    assert [(layer.name, layer.source) for layer in workload.layers] == [("a", ""), ("b", "a"), ("c", "")]


def test_quantised_operands_have_their_bits(quantised_graph: Graph) -> None:
    conv, fc = workload_of(quantised_graph).layers
    assert (conv.weight_bits, conv.activation_bits, conv.output_bits) == (8, 8, 8)
    logits = quantised_graph.types["fc_requantise"].number.bits
    assert (fc.weight_bits, fc.activation_bits, fc.output_bits) == (8, 8, logits)
    assert conv.weights is not None
    assert conv.weights.shape == (4, 1, 3, 3)
    assert conv.weight_density == np.count_nonzero(quantised_graph.const["conv1.weight"].data.numpy()) / 36


def test_floats_have_the_accelerators_bits(float_graph: Graph) -> None:
    for layer in workload_of(float_graph).layers:
        assert (layer.weight_bits, layer.activation_bits, layer.output_bits) == (None, None, None)


def test_shapes_are_enough(float_graph: Graph) -> None:
    empty = tuple(replace(const, data=const.data.to("meta")) for const in float_graph.consts)
    found = workload_of(replace(float_graph, consts=empty))
    assert {layer.weights for layer in found.layers} == {None}
    assert found.layers == workload_of(float_graph).layers  # values are no part of a layer's shape


def test_grouped_strided_and_padded_convolutions() -> None:
    build = Builder("grouped")
    x = build.input("x", float_type(1, 6, 12, 9))
    weight = build.constant("w", float_type(9, 2, 3, 2), torch.zeros(9, 2, 3, 2))
    op = Conv2d(stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(2, 1), groups=3)
    graph = build.graph((build.add(op, (x, weight), "conv"),))
    (layer,) = workload_of(graph).layers
    assert (layer.stride, layer.padding, layer.dilation, layer.groups) == (op.stride, op.padding, op.dilation, 3)
    assert (1, 9, *layer.output) == graph.types["conv"].shape
    assert layer.macs == graph.total_macs


def test_products_of_sequences_have_a_row_each() -> None:
    build = Builder("sequence")
    x = build.input("x", float_type(1, 197, 64))
    weight = build.constant("w", float_type(32, 64), torch.zeros(32, 64))
    graph = build.graph((build.add(Linear(), (x, weight), "fc"),))
    (layer,) = workload_of(graph, batch=2).layers
    assert (layer.positions, layer.taps, layer.group_filters) == (2 * 197, 64, 32)
    assert layer.macs == 2 * graph.total_macs


def test_attention_is_two_products_without_constant_weights() -> None:
    build = Builder("attention")
    q, k, v = (build.input(name, float_type(1, 4, 10, 8)) for name in "qkv")
    graph = build.graph((build.add(Attention(scale=0.5), (q, k, v), "attention"),))
    scores, values = workload_of(graph, batch=3).layers
    assert [scores.name, values.name] == ["attention.scores", "attention.values"]
    assert (scores.groups, scores.positions, scores.taps, scores.group_filters) == (12, 10, 8, 10)
    assert (values.groups, values.positions, values.taps, values.group_filters) == (12, 10, 10, 8)
    assert scores.macs + values.macs == 3 * graph.total_macs
    assert not scores.has_constant_weights


@pytest.mark.parametrize("batch", [1, 2])
def test_matmul_and_transposed_convolutions_make_as_many_products(batch: int) -> None:
    build = Builder("others")
    x = build.input("x", float_type(1, 6, 5, 5))
    weight = build.constant("w", float_type(6, 3, 4, 4), torch.zeros(6, 3, 4, 4))
    up = build.add(ConvTranspose2d(stride=(2, 2), groups=2), (x, weight), "up")
    flat = build.add(Reshape((1, 6, 12, 12)), (up,), "square")
    product = build.add(MatMul(), (flat, flat), "product")
    pooled = build.add(MaxPool2d((2, 2), (2, 2)), (build.add(Relu(), (product,), "relu"),), "pool")
    graph = build.graph((pooled,))
    layers = workload_of(graph, batch).layers
    assert [layer.name for layer in layers] == ["up", "product"]
    assert sum(layer.macs for layer in layers) == batch * graph.total_macs
