from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Attention, MatMul

SIZE = st.integers(1, 4)


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_matmul_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]])
    y = torch.tensor([[[3.0, 0.0, 1.0], [1.0, 1.0, 1.0]]])
    assert MatMul().evaluate(x, y).tolist() == [[[5.0, 2.0, 3.0], [-1.0, -1.0, -1.0]]]
    assert MatMul().infer(floats(1, 2, 2), floats(1, 2, 3)) == floats(1, 2, 3)
    assert MatMul().macs(floats(1, 2, 2), floats(1, 2, 3)) == 2 * 2 * 3


@given(SIZE, SIZE, SIZE, SIZE, st.booleans())
def test_matmul_is_what_torch_computes(heads: int, m: int, k: int, n: int, is_shared: bool) -> None:
    x, y = torch.randn(2, heads, m, k), torch.randn(2, 1 if is_shared else heads, k, n)
    types = floats(1, *x.shape[1:]), floats(1, *y.shape[1:])
    assert MatMul().infer(*types) == floats(1, heads, m, n)
    assert MatMul().macs(*types) == heads * m * k * n
    torch.testing.assert_close(MatMul().evaluate(x, y), torch.einsum("bhmk,bhkn->bhmn", x, y.expand(2, heads, k, n)))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ((floats(1, 2, 3), floats(1, 2, 3)), r"matmul of \[1, 2, 3\] and \[1, 2, 3\]: the inner sizes must be equal"),
        ((floats(3), floats(1, 3, 3)), "the inner sizes must be equal"),
        ((floats(1, 2, 3, 3), floats(1, 4, 3, 3)), r"shapes \[1, 2\] and \[1, 4\] do not broadcast"),
        ((floats(1, 3, 3), TensorType((1, 3, 3), Int(8))), "matmul takes floats of one format"),
        ((floats(1, 3, 3),), "matmul takes 2 arguments, not 1"),
    ],
)
def test_matmul_refuses(types: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        MatMul().infer(*types)


def test_attention_by_hand() -> None:
    """Two keys; the scores ln 1 and ln 3 weigh the values 1 and 5 by a quarter and three quarters."""
    q, k, v = torch.tensor([[[2.0]]]), torch.tensor([[[0.0], [math.log(3)]]]), torch.tensor([[[1.0], [5.0]]])
    assert Attention(0.5).evaluate(q, k, v).item() == pytest.approx(4.0)
    mask = torch.tensor([[math.log(3), 0.0]])
    assert Attention(0.5).evaluate(q, k, v, mask).item() == pytest.approx(3.0)


@given(SIZE, SIZE, SIZE, SIZE, st.booleans(), st.booleans())
def test_attention_is_what_torch_computes(
    queries: int, keys: int, size: int, values: int, causal: bool, has_mask: bool
) -> None:
    q, k, v = torch.randn(2, 3, queries, size), torch.randn(2, 3, keys, size), torch.randn(2, 3, keys, values)
    mask = torch.randn(1, 1, queries, keys)
    args = (q, k, v, mask) if has_mask else (q, k, v)
    hidden = torch.zeros(queries, keys).masked_fill(torch.ones(queries, keys).tril() == 0, -math.inf)
    bias = (mask if has_mask else 0) + (hidden if causal else torch.zeros(queries, keys))
    expected = F.scaled_dot_product_attention(q, k, v, bias, scale=0.3)
    op = Attention(0.3, causal)
    types = [floats(1, *arg.shape[1:]) for arg in args]
    assert op.infer(*types) == floats(1, *expected.shape[1:])
    assert op.macs(*types) == 3 * queries * keys * (size + values)
    torch.testing.assert_close(op.evaluate(*args), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ((floats(1, 2, 3), floats(1, 4, 2), floats(1, 4, 2)), "does not fit together"),
        ((floats(1, 2, 3), floats(1, 4, 3), floats(1, 5, 2)), "does not fit together"),
        ((floats(1, 2, 3), floats(1, 4, 3), floats(4, 2)), "arguments of as many axes, at least 3"),
        ((floats(1, 2, 3), floats(1, 4, 3), floats(1, 4, 3), floats(4, 2, 4)), r"the mask \[4, 2, 4\] does not fit"),
        ((floats(1, 2, 3), floats(1, 4, 3), TensorType((1, 4, 3), Int(8))), "attention takes floats of one format"),
        ((floats(1, 2, 3),), "attention takes 3 to 4 arguments, not 1"),
    ],
)
def test_attention_refuses(types: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        Attention(1.0).infer(*types)


def test_the_scale_must_be_a_number() -> None:
    with pytest.raises(ToolError, match="scale of attention must be a number within 32-bit floating point, not nan"):
        Attention(math.nan)
