"""The operations of QONNX (Pappalardo et al. 2022), as the qonnx package executes them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from bitkiln.ir.ops import Rounding
from bitkiln.ir.ops.scaled import MAX_CODE, rounded

from ._onnx_at import At, Entry, Fixed, Item, Live, Value
from ._onnx_file import bad_onnx
from ._quant_rules import SCALED, THRESHOLDS

# Names that Brevitas, FINN and qonnx gave the same set of operations.
DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

_ROUNDING: Mapping[str, Rounding] = {
    "ROUND": Rounding.HALF_EVEN,
    "HALF_EVEN": Rounding.HALF_EVEN,
    "HALF_UP": Rounding.HALF_UP,
    "HALF_DOWN": Rounding.HALF_DOWN,
    "CEIL": Rounding.CEIL,
    "FLOOR": Rounding.FLOOR,
    "UP": Rounding.UP,
    "DOWN": Rounding.DOWN,
    "ROUND_TO_ZERO": Rounding.DOWN,
}


def quant(at: At) -> Value:
    """(round(clamp(x / scale + zero point)) - zero point) * scale; signed codes of one bit are -1 and 1."""
    x, scale, zero_point = at.value(0), _scale(at, 1), at.tensor(2).to(torch.float32)
    bits, rounding = _bits(at, 3), _rounding(at)
    signed, narrow = at.flag("signed", True), at.flag("narrow")
    if bool((zero_point != torch.round(zero_point)).any()) or float(zero_point.abs().max()) > MAX_CODE:
        raise at.unsupported("its zero point is no whole number", "use whole zero points")
    if bits == 1 and signed:
        if bool((zero_point != 0).any()):
            raise at.unsupported("its single signed bit has a zero point", "use a zero point of 0")
        return _bipolar(at, x, scale)
    lo, hi = _limits(bits, signed, narrow)
    if isinstance(x, Fixed):
        at.spend(4 * x.data.numel())
        codes = rounded(torch.clamp(x.data / scale + zero_point, lo, hi), rounding) - zero_point
        return Fixed(x.path, _like(at, codes * scale, x), scale)
    if max(-lo, hi) > MAX_CODE:
        raise at.unsupported(f"it has {bits} bits", "quantise activations to at most 24 bits")
    _check_channels(at, x, scale, zero_point)
    zeros = tuple(int(zero) for zero in zero_point.reshape(-1).tolist())
    return _scaled(at, x, scale, zeros, (lo, hi), rounding, 0, scale)


def _scaled(
    at: At,
    x: Live,
    scale: Tensor,
    zero_point: tuple[int, ...],
    limits: tuple[int, int],
    rounding: Rounding,
    truncate: int,
    result_scale: Tensor,
) -> Value:
    arguments: dict[str, Item] = {
        "x": x,
        "scale": tuple(scale.reshape(-1).tolist()),
        "zero_point": zero_point,
        "axis": 1,
        "lo": limits[0],
        "hi": limits[1],
        "rounding": rounding.value,
        "truncate": truncate,
        "by_reciprocal": False,
        "result_scale": tuple(result_scale.reshape(-1).tolist()),
    }
    return at.call(SCALED, arguments, x.shape)


def _limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The least code and the greatest; narrow leaves out the least of signed and the greatest of unsigned ones."""
    if signed:
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def bipolar_quant(at: At) -> Value:
    """scale where x >= 0, else -scale."""
    return _bipolar(at, at.value(0), _scale(at, 1))


def _bipolar(at: At, x: Value, scale: Tensor) -> Value:
    if isinstance(x, Fixed):
        at.spend(2 * x.data.numel())
        return Fixed(x.path, _like(at, torch.where(x.data >= 0, 1.0, -1.0) * scale, x), scale)
    if scale.numel() == 1:
        return _thresholds(at, x, torch.zeros(1, 1), (-1, 2), 1, (float(scale.reshape(())), 0.0))
    signs = _thresholds(at, x, torch.zeros(1, 1), (-1, 2), 1, (1.0, 0.0))
    return at.emit("mul.Tensor", signs, at.fixed(scale, "scale"))


def multi_threshold(at: At) -> Value:
    """out_scale * (how many thresholds are at most x) + out_bias."""
    x, thresholds = at.value(0), at.tensor(1).to(torch.float32)
    scale, bias = at.number("out_scale", 1.0), at.number("out_bias", 0.0)
    at.text("out_dtype", "")
    layout = at.text("data_layout", "") or {3: "NWC"}.get(len(x.shape), "NC")
    axis = layout.find("C") if "C" in layout else 1
    if isinstance(x, Fixed) or scale <= 0:
        raise at.unsupported("its input is a constant, or its out_scale is not positive", "fold it before the export")
    if axis >= len(x.shape) or thresholds.dim() != 2 or thresholds.shape[0] not in (1, x.shape[axis]):
        raise bad_onnx(f"MultiThreshold of {list(x.shape)} with thresholds {list(thresholds.shape)}", at.node.loc)
    if bool(torch.isnan(thresholds).any()):
        raise bad_onnx("MultiThreshold: a threshold is no number", at.node.loc)
    limit = torch.finfo(torch.float32).max
    thresholds = thresholds.clamp(-limit, limit)
    for step in (1, 2):  # codes of which the result is a multiple
        if (bias * step / scale).is_integer() and abs(bias / scale) < MAX_CODE:
            return _thresholds(at, x, thresholds, (int(bias * step / scale), step), axis, (scale / step, 0.0))
    return _thresholds(at, x, thresholds, (0, 1), axis, (scale, bias))


def _thresholds(
    at: At, x: Live, levels: Tensor, codes: tuple[int, int], axis: int, result: tuple[float, float]
) -> Live:
    """`codes` are base and step, `result` scale and offset."""
    arguments: dict[str, Item] = {
        "x": x,
        "thresholds": at.fixed(levels, "thresholds"),
        "base": codes[:1],
        "step": codes[1:],
        "axis": axis,
        "scale": result[0],
        "offset": result[1],
    }
    return at.call(THRESHOLDS, arguments, x.shape)


def trunc(at: At) -> Value:
    """Fewer bits of what are codes already: rounded to codes, then divided by a power of two and rounded again.

    Version 1 keeps the scale and does not clamp, so the codes are those of its input's bits, signed or not. Version 2
    has a scale and limits for its result.
    """
    x, scale, zero_point = at.value(0), _scale(at, 1), at.tensor(2)
    before, is_second = _bits(at, 3), at.has(5)
    rounding = _rounding(at, "FLOOR")
    if isinstance(x, Fixed) or bool((zero_point != 0).any()) or scale.numel() != 1:
        raise at.unsupported("it is applied to a constant, or has a zero point or several scales", "use one scale")
    if is_second:
        result, limits = _scale(at, 4), _limits(_bits(at, 5), at.flag("signed", True), at.flag("narrow"))
        if result.numel() != 1:
            raise at.unsupported("its result has several scales", "use one scale")
        truncate = round(math.log2(float(result.reshape(())) / float(scale.reshape(()))))
    else:
        result, truncate = scale, before - _bits(at, 4)
        limits = (-(1 << (before - 1)) >> max(truncate, 0), ((1 << before) - 1) >> max(truncate, 0))
    if not 0 <= truncate <= 24 or max(-limits[0], limits[1]) > MAX_CODE:
        raise at.unsupported(f"it drops {truncate} bits of {before}", "drop 0 to 24 bits")
    return _scaled(at, x, scale, (0,), limits, rounding, truncate, result)


def _scale(at: At, index: int) -> Tensor:
    scale = at.tensor(index).to(torch.float32)
    if scale.numel() < 1 or not bool((torch.isfinite(scale) & (scale > 0)).all()):
        raise at.unsupported("its scale is not positive", "quantise with positive scales")
    return scale


def _bits(at: At, index: int) -> int:
    bits = at.scalar(index)
    if not bits.is_integer() or not 1 <= bits <= 32:
        raise at.unsupported(f"its bit width is {bits:g}", "use 1 to 32 whole bits")
    return int(bits)


def _rounding(at: At, default: str = "ROUND") -> Rounding:
    mode = at.text("rounding_mode", default).upper()
    if mode not in _ROUNDING:
        raise at.unsupported(f"its rounding mode is {mode[:40]!r}", f"known: {', '.join(_ROUNDING)}")
    return _ROUNDING[mode]


def _like(at: At, result: Tensor, x: Fixed) -> Tensor:
    """A scale must not enlarge what it scales."""
    if result.shape != x.data.shape:
        raise bad_onnx(f"{at.node.op}: its scale does not fit {list(x.shape)}", at.node.loc)
    return result


def _check_channels(at: At, x: Live, *parameters: Tensor) -> None:
    """Parameters may differ along the axis of the channels only."""
    plain = tuple(size if axis == 1 else 1 for axis, size in enumerate(x.shape))
    for parameter in parameters:
        aligned = (1,) * (len(x.shape) - parameter.dim()) + tuple(parameter.shape)
        if parameter.numel() > 1 and aligned != plain:
            raise at.unsupported(f"its parameters have shape {list(parameter.shape)}", "give one, or one a channel")


QONNX: Mapping[str, Entry] = {
    "Quant": Entry(quant, (1, 2)),
    "IntQuant": Entry(quant, (1, 2)),
    "BipolarQuant": Entry(bipolar_quant, (1, 2)),
    "Trunc": Entry(trunc, (1, 2)),
    "MultiThreshold": Entry(multi_threshold, (1, 2)),
}
