from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from bitkiln.ir import Float, Int, TensorType, ToolError
from bitkiln.ir.ops import (
    Abs,
    Elu,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Mish,
    Op,
    Power,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)

# Each function as its docstring defines it, in Python's own floats.
CASES: tuple[tuple[Op, Callable[[float], float]], ...] = (
    (Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
    (Tanh(), math.tanh),
    (Silu(), lambda x: x / (1 + math.exp(-x))),
    (HardSigmoid(), lambda x: min(max(x + 3, 0), 6) / 6),
    (HardSwish(), lambda x: x * min(max(x + 3, 0), 6) / 6),
    (Gelu(), lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    (Gelu(True), lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    (LeakyRelu(0.25), lambda x: x if x > 0 else 0.25 * x),
    (Elu(0.5), lambda x: x if x > 0 else 0.5 * (math.exp(x) - 1)),
    (Softplus(2.0, 8.0), lambda x: x if 2 * x > 8 else math.log1p(math.exp(2 * x)) / 2),
    (Mish(), lambda x: x * math.tanh(math.log1p(math.exp(x)))),
    (Abs(), abs),
    (Exp(), math.exp),
    (Power(2.0), lambda x: x * x),
    (Power(-1.0), lambda x: 1 / x),
)


@pytest.mark.parametrize(("op", "function"), CASES, ids=[str(case[0]) for case in CASES])
def test_values_follow_the_definition(op: Op, function: Callable[[float], float]) -> None:
    x = torch.linspace(-7.9, 8.1, 41, dtype=torch.float64).reshape(1, 41)
    expected = torch.tensor([[function(float(value)) for value in x[0]]], dtype=torch.float64)
    assert op.infer(TensorType((1, 41), Float())) == TensorType((1, 41), Float())
    torch.testing.assert_close(op.evaluate(x), expected, rtol=1e-9, atol=1e-9)


def test_logarithm() -> None:
    x = torch.tensor([0.0, 1.0, math.e, -1.0], dtype=torch.float64)
    assert Log().evaluate(x).tolist()[:3] == [-math.inf, 0.0, 1.0]
    assert math.isnan(float(Log().evaluate(x)[3]))


def test_roots() -> None:
    x = torch.tensor([0.25, 4.0])
    assert Power(0.5).evaluate(x).tolist() == [0.5, 2.0]
    assert Power(-0.5).evaluate(x).tolist() == [2.0, 0.5]


@pytest.mark.parametrize("op", [case[0] for case in CASES], ids=[str(case[0]) for case in CASES])
def test_codes_are_refused(op: Op) -> None:
    with pytest.raises(ToolError, match=rf"{op.name} takes floats, not i8.f3\[1,2\]"):
        op.infer(TensorType((1, 2), Int(8, True, 3)))
    with pytest.raises(ToolError, match=f"{op.name} takes 1 argument, not 2"):
        op.infer(*[TensorType((1, 2), Float())] * 2)
