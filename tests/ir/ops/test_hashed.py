"""Hashed weights: nothing is stored but the values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitkiln.ir import Builder, Float, Int, TensorType, ToolError, decode_kiln, encode_kiln
from bitkiln.ir.ops import HashedWeight, Linear


def murmur(value: int) -> int:
    """The finaliser as its author wrote it, in Python's whole numbers."""
    value ^= value >> 16
    value = value * 0x85EBCA6B & 0xFFFFFFFF
    value ^= value >> 13
    value = value * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16


def test_the_hash_is_the_documented_one() -> None:
    op, table = HashedWeight((3, 5), seed=7), torch.tensor([1.0, 2.0, 4.0, 8.0])
    key = murmur(7 + 0x9E3779B9)
    expected = []
    for i in range(15):
        hashed = murmur((i + key) & 0xFFFFFFFF)
        sign = -1 if murmur((hashed + 1) & 0xFFFFFFFF) & 1 else 1
        expected.append(sign * float(table[hashed % 4]))
    assert op.evaluate(table).reshape(-1).tolist() == expected


def test_values_and_signs_are_used_alike() -> None:
    places, signs = HashedWeight((1000, 100)).places(10)
    assert np.allclose(np.bincount(places.numpy()), 10_000, rtol=0.05)
    assert abs(float(signs.double().mean())) < 0.01


def test_gradients_are_summed_with_their_signs() -> None:
    op, table = HashedWeight((4, 6), seed=3), torch.randn(5, requires_grad=True)
    outer = torch.randn(4, 6)
    (op.evaluate(table) * outer).sum().backward()
    places, signs = op.places(5)
    expected = torch.zeros(5).index_add_(0, places, outer.reshape(-1) * signs)
    assert table.grad is not None
    torch.testing.assert_close(table.grad, expected)


def test_only_the_values_are_stored() -> None:
    build = Builder("hashed")
    x = build.input("x", TensorType((1, 1000), Float()))
    table = torch.randn(500)
    weight = build.add(
        HashedWeight((100, 1000), 5), (build.constant("w", TensorType((500,), Float()), table),), "w_all"
    )
    graph = build.graph((build.add(Linear(), (x, weight), "fc"),))
    content = encode_kiln(graph)
    assert 2000 < len(content) < 2200
    back = decode_kiln(content, "here")
    assert back.nodes == graph.nodes
    assert torch.equal(back.const["w"].data, table)


def test_what_does_not_fit() -> None:
    for type_ in (TensorType((2, 2), Float()), TensorType((4,), Int(4))):
        with pytest.raises(ToolError, match="hashed_weight takes a table of floats with one axis, not"):
            HashedWeight((3, 3)).infer(type_)
    with pytest.raises(ToolError, match="seed of hashed_weight must be between 0"):
        HashedWeight((3, 3), -1)
