from __future__ import annotations

import pytest
import torch

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import Div, Mul, Op


def floats(*shape: int) -> TensorType:
    return TensorType(shape, Float())


def test_by_hand() -> None:
    x, y = torch.tensor([[[1.0, -2.0], [3.0, 4.0]]]), torch.tensor([[[2.0], [-0.5]]])
    assert Mul().evaluate(x, y).tolist() == [[[2.0, -4.0], [-1.5, -2.0]]]
    assert Div().evaluate(x, y).tolist() == [[[0.5, -1.0], [-6.0, -8.0]]]


@pytest.mark.parametrize("op", [Mul(), Div()])
def test_types(op: Op) -> None:
    assert op.infer(floats(1, 3, 1, 5), floats(4, 1)) == floats(1, 3, 4, 5)
    assert op.batched(floats(1, 3, 1, 5), floats(4, 1)) == (True, False)
    with pytest.raises(ToolError, match=r"shapes \[1, 3\] and \[1, 2\] do not broadcast"):
        op.infer(floats(1, 3), floats(1, 2))
    with pytest.raises(ToolError, match=rf"{op.name} takes floats of one format, not f32\[1,3\] and i8.f0\[1,3\]"):
        op.infer(floats(1, 3), TensorType((1, 3), Int(8)))
