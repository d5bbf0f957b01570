"""GELU as files before opset 20 hold it: x / sqrt(2), Erf, add 1, times x, times 1/2, in any order."""

from __future__ import annotations

import math

from ._onnx_at import Fixed, Live, Translation, Value


def gelu_argument(translation: Translation, x: Value, y: Value) -> Live | None:
    """The value whose GELU the product of x and y is; None if it is something else."""
    factors = [*_factors(translation, x), *_factors(translation, y)]
    if len(factors) != 3 or not any(_is_number(factor, 0.5) for factor in factors):
        return None
    for gate in factors:
        inner = _argument_of_gate(translation, gate)
        if inner is not None and inner in factors:
            return inner
    return None


def _factors(translation: Translation, value: Value) -> list[Value]:
    """What a product is the product of."""
    call = translation.producer(value)
    if call is None or call.target != "aten.mul.Tensor":
        return [value]
    return list(translation.operands(call))


def _argument_of_gate(translation: Translation, value: Value) -> Live | None:
    """x of 1 + erf(x / sqrt(2))."""
    added = _other_than(translation, value, "aten.add.Tensor", 1.0)
    call = translation.producer(added) if added is not None else None
    if call is None or call.target != "aten.erf.default":
        return None
    (scaled,) = translation.operands(call)
    return _other_than(translation, scaled, "aten.div.Tensor", math.sqrt(2)) or _other_than(
        translation, scaled, "aten.mul.Tensor", math.sqrt(0.5)
    )


def _other_than(translation: Translation, value: Value, target: str, number: float) -> Live | None:
    """The live operand of a call whose other operand is this number."""
    call = translation.producer(value)
    if call is None or call.target != target:
        return None
    operands = translation.operands(call)
    live = [operand for operand in operands if isinstance(operand, Live)]
    is_match = len(live) == 1 and len(operands) == 2 and any(_is_number(operand, number) for operand in operands)
    return live[0] if is_match else None


def _is_number(value: Value, number: float) -> bool:
    return isinstance(value, Fixed) and value.data.numel() == 1 and abs(float(value.data.reshape(())) - number) < 1e-6
