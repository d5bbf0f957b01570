"""Weights from shared sub-vectors: product and residual quantisation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Builder, Codebook, Float, TensorType, ToolError, decode_kiln, encode_kiln
from bitkiln.ir.ops import DecodeVectors, Linear


def test_product_quantisation_by_hand() -> None:
    """Two segments with a codebook each; the last element of the second one is dropped."""
    table = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0])
    weight = DecodeVectors((2, 3), 2).evaluate(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), table)
    assert weight.tolist() == [[1, 2, 30], [3, 4, 10]]


def test_residual_quantisation_adds_levels() -> None:
    table = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0])
    indices = torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])
    assert DecodeVectors((1, 4), 2, is_common=True).evaluate(indices, table).tolist() == [[31, 42, 33, 44]]


def test_gradients_are_summed() -> None:
    table = torch.zeros(4, requires_grad=True)
    weight = DecodeVectors((2, 2, 1, 1), 2, is_common=True).evaluate(torch.tensor([[[1.0], [1.0]]]), table)
    (weight * torch.tensor([[1.0, 2.0], [4.0, 8.0]]).reshape(2, 2, 1, 1)).sum().backward()
    assert table.grad is not None
    assert table.grad.tolist() == [0, 0, 5, 10]


@pytest.mark.parametrize(
    ("op", "indices", "entries", "message"),
    [
        (DecodeVectors((2, 4), 2), (1, 2, 3), 16, r"takes indices \[levels, 2, 2\], not \[1, 2, 3\]"),
        (DecodeVectors((2, 4), 2), (1, 2, 2), 8, r"takes a table of 16 floats, not f32\[8\]"),
        (DecodeVectors((2, 4), 2, is_common=True), (3, 2, 2), 8, r"takes a table of 24 floats, not f32\[8\]"),
    ],
)
def test_what_does_not_fit(op: DecodeVectors, indices: tuple[int, ...], entries: int, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        op.infer(TensorType(indices, Codebook(2, Float())), TensorType((entries,), Float()))


def test_the_shape_has_rows_and_columns() -> None:
    with pytest.raises(ToolError, match="decode_vectors makes weights of 2 or more axes"):
        DecodeVectors((4,), 2)
    with pytest.raises(ToolError, match="dimension of decode_vectors must be between 1"):
        DecodeVectors((4, 4), 0)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    size=st.integers(1, 5),
    levels=st.integers(1, 3),
    is_common=st.booleans(),
    bits=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_the_container_gives_the_same_bits(
    rows: int, columns: int, size: int, levels: int, is_common: bool, bits: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    op, build = DecodeVectors((rows, columns), size, is_common), Builder("vectors")
    x = build.input("x", TensorType((1, columns), Float()))
    data = torch.randint(0, 1 << bits, (levels, rows, op.segments), generator=generator)
    stored = data.to(torch.uint8 if bits <= 8 else torch.int32)
    indices = build.constant("w", TensorType(tuple(data.shape), Codebook(bits, Float())), stored)
    entries = torch.randn(levels * (1 if is_common else op.segments) * (1 << bits) * size, generator=generator)
    table = build.constant("t", TensorType((len(entries),), Float()), entries)
    weight = build.add(op, (indices, table), "decoded")
    graph = build.graph((build.add(Linear(), (x, weight), "fc"),))
    back = decode_kiln(encode_kiln(graph), "here")
    assert back.nodes == graph.nodes
    for name, const in graph.const.items():
        assert torch.equal(back.const[name].data, const.data)
