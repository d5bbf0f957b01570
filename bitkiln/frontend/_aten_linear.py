"""ATen's matrix products with weights."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir.ops import Conv2d, Linear

from ._lower import At, Rule, Value
from ._program import bad_program


def linear(at: At) -> Value:
    x = at.activation("input")
    return at.emit(Linear(), x.name, *_weights(at))


def conv2d(at: At) -> Value:
    top, left = at.pair("padding")
    return _conv2d(at, ((top, top), (left, left)))


def conv2d_padding(at: At) -> Value:
    """`same` puts the odd row or column of padding behind the image."""
    match at.optional("padding"):
        case "valid":
            return _conv2d(at, ((0, 0), (0, 0)))
        case "same":
            kernel, dilation = at.value("weight").shape[2:], at.pair("dilation")
            total = [dilation[i] * (kernel[i] - 1) for i in range(2)]
            top, left = total[0] // 2, total[1] // 2
            return _conv2d(at, ((top, total[0] - top), (left, total[1] - left)))
        case other:
            raise bad_program(f"{at.call.target}: padding must be 'same' or 'valid', not {other}", at.call.loc)


def _conv2d(at: At, padding: tuple[tuple[int, int], tuple[int, int]]) -> Value:
    op = Conv2d(at.pair("stride"), padding, at.pair("dilation"), at.integer("groups"))
    return at.emit(op, at.activation("input").name, *_weights(at))


def _weights(at: At) -> tuple[str, ...]:
    weight, bias = at.weight("weight"), at.weight("bias")
    return tuple(name for name in (weight, bias) if name is not None)


LINEAR: Mapping[str, Rule] = {
    "aten.linear.default": linear,
    "aten.conv2d.default": conv2d,
    "aten.conv2d.padding": conv2d_padding,
}
