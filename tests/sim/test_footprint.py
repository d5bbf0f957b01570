"""Before and after compression: bytes in every format, products, cycles."""

from __future__ import annotations

import pytest
import torch

from bitkiln.ir import Builder, Codebook, Const, Float, Graph, TensorType, encode_kiln
from bitkiln.ir.ops import Conv2d, Decode, Linear
from bitkiln.sim.footprint import COLUMNS, Footprint, side_by_side

WEIGHT = torch.tensor([[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [7.0, 0.0, 0.0, 9.0]])


def linear(weight: torch.Tensor) -> Graph:
    build = Builder("net")
    x = build.input("x", TensorType((1, weight.shape[1]), Float()))
    w = build.constant("w", TensorType(tuple(weight.shape), Float()), weight)
    return build.graph((build.add(Linear(), (x, w), "fc"),))


def test_formats_by_hand() -> None:
    (tensor,) = Footprint.of(linear(WEIGHT)).tensors
    assert (tensor.elements, tensor.nonzeros, tensor.dense_bytes) == (12, 3, 48)
    assert tensor.csr_bytes == -(-(3 * 32 + 3 * 2 + 4 * 2) // 8)
    assert tensor.csc_bytes == -(-(3 * 32 + 3 * 2 + 5 * 2) // 8)
    assert tensor.bitmap_bytes == -(-(3 * 32 + 12) // 8)
    assert (tensor.relative_bytes, tensor.gap_bits) == (-(-3 * (32 + 3) // 8), 3)  # gaps 1, 6 and 2
    assert len(tensor.cells) == len(COLUMNS)


def test_all_bytes_are_counted() -> None:
    graph = linear(WEIGHT)
    found = Footprint.of(graph)
    assert found.stored_bytes == len(encode_kiln(graph))
    assert found.other_bytes == found.stored_bytes - found.tensors[0].stored_bytes > 0


def test_zeros_of_weights_and_of_activations_are_not_executed() -> None:
    found = Footprint.of(linear(WEIGHT))
    assert (found.macs, found.executed_macs) == (12, 3)
    assert Footprint.of(linear(WEIGHT), torch.tensor([[1.0, 1.0, 1.0, 0.0]])).executed_macs == 2
    build = Builder("padded")
    x = build.input("x", TensorType((1, 1, 2, 2), Float()))
    w = build.constant("w", TensorType((1, 1, 3, 3), Float()), torch.ones(1, 1, 3, 3))
    graph = build.graph((build.add(Conv2d(padding=((1, 1), (1, 1))), (x, w), "conv"),))
    assert (Footprint.of(graph).macs, Footprint.of(graph).executed_macs) == (36, 16)


@pytest.mark.parametrize(("has_zero", "nonzeros"), [(True, 2), (False, 4)])
def test_index_0_is_zero_only_if_it_means_that(has_zero: bool, nonzeros: int) -> None:
    build = Builder("shared")
    x = build.input("x", TensorType((1, 2), Float()))
    indices = torch.tensor([[0, 1], [1, 0]], dtype=torch.uint8)
    w = build.constant("w", TensorType((2, 2), Codebook(1, Float())), indices)
    table = build.constant("t", TensorType((1 if has_zero else 2,), Float()), torch.ones(1 if has_zero else 2))
    weight = build.add(Decode(has_zero), (w, table), "decoded")
    found = Footprint.of(build.graph((build.add(Linear(), (x, weight), "fc"),)))
    assert found.tensors[0].nonzeros == nonzeros
    assert found.executed_macs == nonzeros if has_zero else 4


def test_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(64, 256, generator=generator)
    sparse = torch.where(torch.rand(dense.shape, generator=generator) < 0.1, dense, 0)
    before, after = Footprint.of(linear(dense)), Footprint.of(linear(sparse))
    rows = {row[0]: row[1:] for row in side_by_side(before, after)}
    assert rows["dense bytes"] == ("65,536", "65,536", "1.00x")
    assert rows["MACs"] == ("16,384", "16,384", "1.00x")
    assert rows["MACs executed"][:2] == ("16,384", f"{int(sparse.count_nonzero()):,}")
    assert float(rows["stored bytes"][2][:-1]) > 7
    assert float(rows["cycles"][2][:-1]) > 3


def test_a_graph_that_multiplies_nothing() -> None:
    build = Builder("nothing")
    x = build.input("x", TensorType((1, 2), Float()))
    graph = build.graph((x,))
    found = Footprint.of(Graph("n", graph.inputs, (Const("c", TensorType((1,), Float()), torch.ones(1)),), (), ("x",)))
    assert (found.macs, found.executed_macs, found.cycles) == (0, None, None)
    assert side_by_side(found, found)[-1] == ("cycles", "none", "none", "")
