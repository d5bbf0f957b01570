from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import ReduceMax, ReduceMean, ReduceNorm, ReduceSum

AXES = st.sets(st.integers(1, 3), min_size=1).map(lambda axes: tuple(sorted(axes)))


@given(AXES, st.booleans())
def test_values_are_those_of_numpy(axes: tuple[int, ...], keep: bool) -> None:
    x = torch.randn(2, 3, 1, 4, dtype=torch.float64)
    plain = x.numpy()
    cases = (
        (ReduceMean(axes, keep), plain.mean(axes, keepdims=keep)),
        (ReduceSum(axes, keep), plain.sum(axes, keepdims=keep)),
        (ReduceMax(axes, keep), plain.max(axes, keepdims=keep)),
        (ReduceNorm(axes, keep), np.sqrt((plain**2).sum(axes, keepdims=keep))),
    )
    for op, expected in cases:
        assert op.infer(TensorType((1, 3, 1, 4), Float())).shape == (1, *expected.shape[1:])
        np.testing.assert_allclose(op.evaluate(x).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("axes", [(), (2, 1), (1, 1)])
def test_axes_rise(axes: tuple[int, ...]) -> None:
    with pytest.raises(ToolError, match="axes of reduce_sum must be one or more and rise"):
        ReduceSum(axes)


def test_refusals() -> None:
    with pytest.raises(ToolError, match="axes of reduce_mean must be between 1 and 65535, not 0"):
        ReduceMean((0, 1))
    with pytest.raises(ToolError, match=r"reduce_max of \[1, 3\] has no axis 2"):
        ReduceMax((2,)).infer(TensorType((1, 3), Float()))
    with pytest.raises(ToolError, match=r"reduce_norm takes floats, not i8\.f0"):
        ReduceNorm((1,)).infer(TensorType((1, 3), Int(8)))
