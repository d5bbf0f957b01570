from __future__ import annotations

import pytest
import torch

from bitkiln.ir import Builder, Codebook, Float, Int, TensorType, ToolError, evaluate
from bitkiln.ir.ops import Decode, Linear, Op, Relu


def test_by_hand() -> None:
    indices, table = torch.tensor([[3.0, 0.0], [1.0, 3.0]]), torch.tensor([0.5, -1.0, 2.0, 4.0])
    assert Decode().evaluate(indices, table).tolist() == [[4.0, 0.5], [-1.0, 4.0]]
    assert Decode(has_zero=True).evaluate(indices, table[:3]).tolist() == [[2.0, 0.0], [0.5, 2.0]]


def test_the_gradient_of_an_entry_is_the_sum_over_the_weights_that_share_it() -> None:
    table = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    weights = Decode(has_zero=True).evaluate(torch.tensor([[1.0, 0.0, 3.0], [1.0, 2.0, 0.0]]), table)
    weights.backward(torch.tensor([[1.0, 10.0, 100.0], [1000.0, 1.0, 1.0]]))
    assert table.grad is not None
    assert table.grad.tolist() == [1001.0, 1.0, 100.0]


@pytest.mark.parametrize("entries", [Float(), Int(6, True, 3)])
def test_types(entries: Float | Int) -> None:
    indices = TensorType((5, 3), Codebook(2, entries))
    assert Decode().infer(indices, TensorType((4,), entries)) == TensorType((5, 3), entries)
    assert Decode(has_zero=True).infer(indices, TensorType((3,), entries)) == TensorType((5, 3), entries)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((TensorType((4,), Float()),), "decode takes 2 arguments, not 1"),
        (
            (TensorType((4,), Float()), TensorType((4,), Float())),
            "decode takes the indices of a codebook, not f32[4]",
        ),
        (
            (TensorType((9,), Codebook(2, Float())), TensorType((3,), Float())),
            "decode of codebook2(f32) takes a table of 4 such entries, not f32[3]",
        ),
        (
            (TensorType((9,), Codebook(2, Float())), TensorType((4,), Int(8))),
            "decode of codebook2(f32) takes a table of 4 such entries, not i8.f0[4]",
        ),
        (
            (TensorType((9,), Codebook(1, Int(8, True, (1, 2), 0))), TensorType((2,), Int(8, True, (1, 2), 0))),
            "decode takes entries of one point, not i8.f[1,2]@0",
        ),
    ],
)
def test_arguments_that_do_not_fit(args: tuple[TensorType, ...], message: str) -> None:
    with pytest.raises(ToolError) as caught:
        Decode().infer(*args)
    assert caught.value.diagnostics[0].message == message


def test_layers_may_share_a_table_also_of_codes() -> None:
    """y = W2 relu(W1 x), both matrices of the codes -2, 0, 1, 3."""
    number, code = Int(3, True, 1), Codebook(2, Int(3, True, 1))
    build = Builder("shared")
    y = build.input("x", TensorType((1, 2), Int(4)))
    table = build.constant("table", TensorType((4,), number), torch.tensor([-2, 0, 1, 3], dtype=torch.int8))
    steps: list[tuple[list[list[int]], Op]] = [([[0, 3], [2, 2]], Relu()), ([[3, 1]], Relu())]
    for indices, op in steps:
        data = torch.tensor(indices, dtype=torch.uint8)
        name = build.constant("w", TensorType(tuple(data.shape), code), data)
        weight = build.add(Decode(), (name, table), "decoded")
        y = build.add(op, (build.add(Linear(), (y, weight), "fc"),), "relu")
    (found,) = evaluate(build.graph((y,)), torch.tensor([[1.0, 4.0], [-1.0, 0.0]]))
    assert found.tolist() == [[3.0 * 10], [3.0 * 2]]


def test_indices_are_constant() -> None:
    build = Builder("wrong")
    x = build.input("x", TensorType((1, 3), Codebook(1, Float())))
    table = build.constant("table", TensorType((2,), Float()), torch.zeros(2))
    with pytest.raises(ToolError, match="argument %x of decode depends on an input, but must be constant here"):
        build.graph((build.add(Decode(), (x, table), "y"),))
