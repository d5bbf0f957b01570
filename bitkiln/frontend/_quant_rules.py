"""Quantisers of ONNX, QONNX and PyTorch as calls of a program, and the operations they become. Both give floats.

`quant.scaled(x, scale, zero_point, axis, lo, hi, rounding, truncate, by_reciprocal, result_scale)` is
(round(clamp(x / scale + zero_point, lo, hi)) - zero_point) * result_scale, as `QuantiseScaled` says it.
`quant.thresholds(x, thresholds, base, step, axis, scale, offset)` is the base plus step for each threshold that is at
most x, times scale, plus offset.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bitkiln.ir import Int
from bitkiln.ir.ops import Add, Dequantise, Mul, MultiThreshold, QuantiseScaled, Rounding
from bitkiln.passes.grids import point_of

from ._lower import Activation, At, Known, Rule, Value

SCALED = "quant.scaled"
THRESHOLDS = "quant.thresholds"


def scaled(at: At) -> Value:
    """Codes with a point near the scale; what the scale is more than a power of two is multiplied afterwards."""
    x = at.activation("x")
    scale, zero_point = _floats(at, "scale"), _ints(at, "zero_point")
    per_channel = max(len(scale), len(zero_point)) > 1
    if per_channel and (len(x.shape) < 2 or at.dim("axis", len(x.shape)) != 1 or x.shape[0] != 1):
        raise at.unsupported(f"its scales differ along axis {at.optional('axis')}", "use one scale for the tensor")
    lo, hi = at.integer("lo"), at.integer("hi")
    result_scale = _floats(at, "result_scale")
    frac, left = point_of(result_scale[0]) if len(result_scale) == 1 else (0, 1.0)
    number = Int.holding(lo - max(zero_point), hi - min(zero_point), frac)
    rounding = Rounding(at.optional("rounding"))
    op = QuantiseScaled(number, scale, lo, hi, zero_point, rounding, at.integer("truncate"), at.flag("by_reciprocal"))
    values = at.emit(Dequantise((frac,)), at.emit(op, x.name).name)
    factors = torch.tensor(result_scale) if per_channel else torch.tensor(left)
    return _times(at, values, factors, 1)


def thresholds(at: At) -> Value:
    """Codes by comparison, with the scale and offset of what they stand for."""
    x, levels = at.activation("x"), at.weight("thresholds")
    assert levels is not None
    base, step, axis = _ints(at, "base"), _ints(at, "step"), at.dim("axis", len(x.shape))
    if axis == 0 or x.shape[0] != 1:
        raise at.unsupported("its channels stand along the batch axis", "thresholds need [batch, channels, ...]")
    count = at.lowering.build.types[levels].shape[1]
    ends = [last for b, s in zip(base, step, strict=True) for last in (b, b + s * count)]
    frac, left = point_of(at.number("scale"))
    op = MultiThreshold(Int.holding(min(ends), max(ends), frac), base, step, axis)
    values = at.emit(Dequantise((frac,)), at.emit(op, x.name, levels).name)
    result = _times(at, values, torch.tensor(left), axis)
    if at.number("offset") == 0:
        return result
    offset = Known(at.name_of("offset"), torch.tensor(at.number("offset")))
    return at.emit(Add(), result.name, at.lowering.constant(offset, at.call.loc))


def _times(at: At, x: Activation, factors: torch.Tensor, axis: int) -> Activation:
    if bool((factors == 1).all()):
        return x
    shape = (-1, *[1] * (len(x.shape) - axis - 1)) if factors.dim() else ()
    name = at.lowering.constant(Known(at.name_of("scale"), factors.reshape(shape)), at.call.loc)
    return at.emit(Mul(), x.name, name)


def _floats(at: At, name: str) -> tuple[float, ...]:
    argument = at.call.arguments[name]
    assert isinstance(argument, tuple)
    return tuple(float(item) for item in argument if isinstance(item, int | float))


def _ints(at: At, name: str) -> tuple[int, ...]:
    argument = at.call.arguments[name]
    assert isinstance(argument, tuple)
    return tuple(item for item in argument if isinstance(item, int))


QUANTISERS: Mapping[str, Rule] = {SCALED: scaled, THRESHOLDS: thresholds}
