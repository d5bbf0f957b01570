"""QuantizeLinear and DequantizeLinear: a pair of them is a quantiser, one on a constant is a weight on its grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ._onnx_at import At, Codes, Entry, Fixed, Item, Live, Value
from ._onnx_file import bad_onnx
from ._quant_rules import SCALED

# Codes of the types that a zero point can have.
_LIMITS: Mapping[torch.dtype, tuple[int, int]] = {
    torch.uint8: (0, 255),
    torch.int8: (-128, 127),
    torch.int16: (-32768, 32767),
}
_BY_NUMBER = {2: torch.uint8, 3: torch.int8, 5: torch.int16}  # TensorProto.DataType


def quantize_linear(at: At) -> Value:
    """saturate(round(x / scale) + zero point), halves to even."""
    x = at.value(0)
    scale, zero_point, axis = _parameters(at, x)
    lo, hi = _limits(at, zero_point)
    if isinstance(x, Fixed):
        shape = _along(at, scale, x, axis)
        codes = torch.round(x.data / scale.reshape(shape)) + zero_point.reshape(_along(at, zero_point, x, axis))
        return Fixed(x.path, codes.clamp(lo, hi).to(zero_point.dtype))
    scales, zeros = tuple(scale.reshape(-1).tolist()), tuple(zero_point.reshape(-1).tolist())
    return quantised(at, x, Codes(scales, zeros, axis, lo, hi, x))


def quantised(at: At, x: Live, codes: Codes) -> Live:
    """The codes of x, as a value that stands for what they do."""
    zero_points = set(codes.zero_point)
    if len(zero_points) > 1:
        raise at.unsupported("its zero points differ along an axis", "use one zero point for activations")
    zero_point = zero_points.pop()  # does not take part in rounding here, so it moves the limits only
    arguments: dict[str, Item] = {
        "x": x,
        "scale": codes.scale,
        "zero_point": (0,),
        "axis": codes.axis,
        "lo": codes.lo - zero_point,
        "hi": codes.hi - zero_point,
        "rounding": "half_even",
        "truncate": 0,
        "by_reciprocal": False,
        "result_scale": codes.scale,
    }
    return replace(at.call(SCALED, arguments, x.shape), codes=codes)


def clipped(at: At, x: Live, lo: float, hi: float) -> Value:
    """Codes within other limits: that is how formats of fewer bits than 8 are written."""
    codes = x.codes
    assert codes is not None
    narrow = replace(codes, lo=max(codes.lo, round(max(lo, -1e9))), hi=min(codes.hi, round(min(hi, 1e9))))
    if codes.source is None or narrow.lo > narrow.hi:
        raise at.unsupported("it clips codes that were moved", "clip right behind QuantizeLinear")
    return quantised(at, codes.source, narrow)


def dequantize_linear(at: At) -> Value:
    """(codes - zero point) * scale."""
    x = at.raw(0)
    scale, zero_point, axis = _parameters(at, x)
    if isinstance(x, Fixed):
        if x.dtype.is_floating_point:
            raise at.unsupported(f"its codes are {x.dtype}", "8-bit codes work")
        centred = x.data.to(torch.int32) - zero_point.to(torch.int32).reshape(_along(at, zero_point, x, axis))
        at.spend(2 * centred.numel())
        return Fixed(x.path, centred.to(torch.float32) * scale.reshape(_along(at, scale, x, axis)), scale)
    given = (tuple(scale.reshape(-1).tolist()), tuple(zero_point.reshape(-1).tolist()))
    if x.codes is None:
        raise at.unsupported("its input are codes that no QuantizeLinear made", "give the model a float input")
    if given != (x.codes.scale, x.codes.zero_point) or (max(map(len, given)) > 1 and axis != x.codes.axis):
        raise at.unsupported(
            "its scale or zero point is not that of the QuantizeLinear before it", "use the same for both"
        )
    return replace(x, codes=None)


def _parameters(at: At, x: Value) -> tuple[Tensor, Tensor, int]:
    """Scale, zero point and axis; blocks and 8-bit floats are refused."""
    scale = at.tensor(1)
    kind = at.integer("output_dtype", 0)
    zero_point = at.tensor(2) if at.has(2) else torch.zeros((), dtype=_BY_NUMBER.get(kind or 2, torch.float32))
    at.flag("saturate", True)
    if at.integer("block_size", 0) or (at.node.domain == "" and at.integer("precision", 0) not in (0, 1)):
        raise at.unsupported("it works on blocks, or not in float32", "quantise tensors or channels in float32")
    if scale.dtype != torch.float32 or not bool((torch.isfinite(scale) & (scale > 0)).all()) or scale.numel() < 1:
        raise at.unsupported("its scale is no positive float32 number", "export the model in float32")
    axis = at.integer("axis", 1)
    is_scalar = scale.numel() == 1 and zero_point.numel() == 1
    return scale, zero_point, 0 if is_scalar else at.axis(axis, len(x.shape))


def _limits(at: At, zero_point: Tensor) -> tuple[int, int]:
    if zero_point.dtype not in _LIMITS:
        raise at.unsupported(f"its codes are {zero_point.dtype}", "use int8 or uint8")
    return _LIMITS[zero_point.dtype]


def _along(at: At, values: Tensor, x: Value, axis: int) -> tuple[int, ...]:
    """The shape that puts a list of values along the axis."""
    if values.numel() == 1:
        return (1,) * len(x.shape)
    if values.dim() != 1 or values.numel() != x.shape[axis]:
        raise bad_onnx(f"{at.node.op}: {values.numel()} scales for an axis of {x.shape[axis]}", at.node.loc)
    return tuple(-1 if i == axis else 1 for i in range(len(x.shape)))


QUANTISE: Mapping[str, Entry] = {
    "QuantizeLinear": Entry(quantize_linear, (10, 13, 19, 21, 23, 24, 25)),
    "DequantizeLinear": Entry(dequantize_linear, (10, 13, 19, 21, 23, 24, 25)),
}
