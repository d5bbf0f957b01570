"""ONNX's operations on single elements, and arithmetic with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ._onnx_at import At, Entry, Fixed, Live, Rule, Value
from ._onnx_gelu import gelu_argument
from ._onnx_quantise import clipped
from ._onnx_tensor import TYPES


def plain(target: str) -> Rule:
    """One input, no attributes."""
    return lambda at: at.emit(target, at.value(0))


def constant_only(function: Callable[..., Tensor]) -> Rule:
    """An operation of shape computations and masks: computed at import, or refused."""

    def rule(at: At) -> Value:
        operands = at.values()
        tensors = [operand.data for operand in operands if isinstance(operand, Fixed)]
        if len(tensors) != len(operands):
            raise at.unsupported("it depends on the model's input", "write this part with supported operations")
        at.spend(math.prod(_broadcast(at, tensors)))
        return at.fixed(function(*tensors))

    return rule


def _broadcast(at: At, tensors: list[Tensor]) -> tuple[int, ...]:
    try:
        return tuple(torch.broadcast_shapes(*(tensor.shape for tensor in tensors)))
    except RuntimeError:
        raise at.unsupported("its inputs do not broadcast") from None


def clip(at: At) -> Value:
    """The limits are attributes before opset 11, then inputs; either may be absent."""
    x = at.raw(0)
    if at.version < 11:
        lo, hi = at.number("min", -math.inf), at.number("max", math.inf)
    else:
        lo = at.scalar(1) if at.has(1) else -math.inf
        hi = at.scalar(2) if at.has(2) else math.inf
    if isinstance(x, Live) and x.codes is not None:
        return clipped(at, x, lo, hi)
    if not lo <= hi:
        raise at.unsupported(f"it clips from {lo} to {hi}", "the first limit must not be above the second")
    given = [None if math.isinf(limit) else limit for limit in (lo, hi)]
    if given == [None, None]:
        return x
    whole = [int(limit) if limit is not None and not x.dtype.is_floating_point else limit for limit in given]
    return at.emit("clamp.default", x, *whole)


def relu_like(target: str, attribute: str, default: float) -> Rule:
    """One input and one number."""
    return lambda at: at.emit(target, at.value(0), at.number(attribute, default))


def hard_sigmoid(at: At) -> Value:
    """max(0, min(1, alpha * x + beta)); torch's has alpha 1/6 and beta 1/2."""
    x = at.value(0)
    alpha, beta = at.number("alpha", 0.2), at.number("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return at.emit("hardsigmoid.default", x)
    line = at.emit("add.Tensor", at.emit("mul.Tensor", x, alpha), beta)
    return at.emit("clamp.default", line, 0.0, 1.0)


def gelu(at: At) -> Value:
    approximate = at.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise at.unsupported(f"its approximation is {approximate[:40]!r}", "use none or tanh")
    return at.emit("gelu.default", at.value(0), approximate)


def selu(at: At) -> Value:
    alpha, gamma = at.number("alpha", 1.6732632423543772), at.number("gamma", 1.0507009873554805)
    return at.emit("mul.Tensor", at.emit("elu.default", at.value(0), alpha), gamma)


def celu(at: At) -> Value:
    """alpha * elu(x / alpha)."""
    alpha = at.number("alpha", 1.0)
    if alpha <= 0:
        raise at.unsupported(f"its alpha is {alpha}", "use a positive alpha")
    scaled = at.emit("mul.Tensor", at.value(0), 1 / alpha)
    return at.emit("mul.Tensor", at.emit("elu.default", scaled), alpha)


def prelu(at: At) -> Value:
    x, slope = at.value(0), at.value(1)
    if not isinstance(slope, Fixed) or len(slope.shape) > len(x.shape):
        raise at.unsupported("its slopes depend on the model's input", "make them constants")
    aligned = (1,) * (len(x.shape) - len(slope.shape)) + slope.shape
    is_channel = slope.data.numel() == 1 or (
        len(x.shape) > 1 and aligned[1] == x.shape[1] == slope.data.numel() and aligned[0] == 1
    )
    if is_channel:
        return at.emit("prelu.default", x, at.emit("reshape.default", slope, (-1,)))
    negative = at.emit("mul.Tensor", at.emit("clamp.default", x, None, 0.0), slope)
    return at.emit("add.Tensor", at.emit("relu.default", x), negative)


def softplus(at: At) -> Value:
    return at.emit("softplus.default", at.value(0))


def arithmetic(target: str) -> Rule:
    return lambda at: at.emit(target, at.value(0), at.value(1))


def add(at: At) -> Value:
    """Torch's exporter writes a linear layer as a product and a sum; as one layer its bias keeps its name."""
    x, y = at.value(0), at.value(1)
    call = at.translation.producer(x) if at.node.aten == "aten.linear.default" else None
    if call is None or call.target != at.node.aten or call.arguments["bias"] is not None or not isinstance(y, Fixed):
        return at.emit("add.Tensor", x, y)
    source, weight = at.translation.operands(call)
    is_bias = y.shape == weight.shape[:1]
    return at.emit("linear.default", source, weight, y) if is_bias else at.emit("add.Tensor", x, y)


def multiply(at: At) -> Value:
    x, y = at.value(0), at.value(1)
    found = gelu_argument(at.translation, x, y)
    return at.emit("mul.Tensor", x, y) if found is None else at.emit("gelu.default", found)


def total(at: At) -> Value:
    """The sum of any number of values."""
    first, *others = at.values()
    for other in others:
        first = at.emit("add.Tensor", first, other)
    return first


def divide(at: At) -> Value:
    """Whole numbers are divided towards zero."""
    x, y = at.value(0), at.value(1)
    if x.dtype.is_floating_point:
        return at.emit("div.Tensor", x, y)
    if isinstance(y, Fixed) and bool((y.data == 0).any()):
        raise at.unsupported("it divides by zero")
    return at.emit("div.Tensor_mode", x, y, "trunc")


def power(at: At) -> Value:
    x = at.value(0)
    if isinstance(x, Live):
        return at.emit("pow.Tensor_Scalar", x, at.scalar(1))
    return at.emit("pow.Tensor_Tensor", x, at.fixed(at.tensor(1).to(x.dtype)))


def smallest(at: At) -> Value:
    return _extreme(at, is_smallest=True)


def largest(at: At) -> Value:
    return _extreme(at, is_smallest=False)


def _extreme(at: At, is_smallest: bool) -> Value:
    """Of one value and numbers it is a clip."""
    target = "minimum.default" if is_smallest else "maximum.default"
    operands = at.values()
    numbers = [operand for operand in operands if isinstance(operand, Fixed) and operand.data.numel() == 1]
    others = [operand for operand in operands if not (isinstance(operand, Fixed) and operand.data.numel() == 1)]
    limits = [float(number.data.reshape(())) for number in numbers]
    if len(others) == 1 and isinstance(others[0], Live) and limits:
        return at.emit("clamp.default", others[0], *((None, min(limits)) if is_smallest else (max(limits), None)))
    ordered = (*others, *numbers)
    result: Value = ordered[0]
    for other in ordered[1:]:
        result = at.emit(target, result, other)
    return result


def mean_of(at: At) -> Value:
    """The mean of any number of values."""
    return at.emit("div.Tensor", total(at), float(len(at.inputs)))


def softsign(at: At) -> Value:
    """x / (1 + |x|)."""
    x = at.value(0)
    return at.emit("div.Tensor", x, at.emit("add.Tensor", at.emit("abs.default", x), 1.0))


def where(at: At) -> Value:
    """A known mask, with a number on one side."""
    mask, x, y = at.tensor(0), at.value(1), at.value(2)
    if isinstance(x, Fixed) and isinstance(y, Fixed):
        at.spend(math.prod(_broadcast(at, [mask, x.data, y.data])))
        return at.fixed(torch.where(mask, x.data, y.data))
    for value, filler, hidden in ((x, y, ~mask), (y, x, mask)):
        if isinstance(value, Live) and isinstance(filler, Fixed) and filler.data.numel() == 1:
            return at.emit("masked_fill.Scalar", value, at.fixed(hidden, "mask"), float(filler.data.reshape(())))
    raise at.unsupported("both its sides are tensors", "fill with one number")


def cast(at: At) -> Value:
    return _cast(at, TYPES.get(at.integer("to")))


def cast_like(at: At) -> Value:
    return _cast(at, at.value(1).dtype)


def _cast(at: At, dtype: torch.dtype | None) -> Value:
    x = at.value(0)
    if at.has_attribute("saturate"):
        at.integer("saturate")  # of 8-bit floats, which are not among the known types
    if at.has_attribute("round_mode"):
        at.text("round_mode")
    if dtype is None:
        raise at.unsupported("it converts to an unknown element type", "compute in float32")
    if isinstance(x, Fixed):
        return Fixed(x.path, x.data.to(dtype), x.scale)
    if dtype != x.dtype:
        raise at.unsupported(f"it converts {x.dtype} to {dtype}", "compute in float32")
    return x


def identity(at: At) -> Value:
    return at.raw(0)


def dropout(at: At) -> Value:
    """Nothing at inference."""
    for name in ("ratio", "seed", "is_test", "consumed_inputs"):
        if at.has_attribute(name):
            at.number(name) if name == "ratio" else at.integer(name)
    if at.has(1):
        at.scalar(1)
    if at.has(2) and at.scalar(2) != 0:
        raise at.unsupported("it is in training mode", "call model.eval() before the export")
    return at.value(0)


ELEMENTWISE: Mapping[str, Entry] = {
    "Relu": Entry(plain("relu.default"), (6, 13, 14)),
    "Sigmoid": Entry(plain("sigmoid.default"), (6, 13)),
    "Tanh": Entry(plain("tanh.default"), (6, 13)),
    "HardSwish": Entry(plain("hardswish.default"), (14, 22)),
    "Mish": Entry(plain("mish.default"), (18, 22)),
    "Softplus": Entry(softplus, (1, 22)),
    "Sqrt": Entry(plain("sqrt.default"), (6, 13)),
    "Reciprocal": Entry(plain("reciprocal.default"), (6, 13)),
    "Neg": Entry(plain("neg.default"), (6, 13)),
    "Exp": Entry(plain("exp.default"), (6, 13)),
    "Log": Entry(plain("log.default"), (6, 13)),
    "Abs": Entry(plain("abs.default"), (6, 13)),
    "Erf": Entry(plain("erf.default"), (9, 13)),
    "Floor": Entry(plain("floor.default"), (6, 13)),
    "Ceil": Entry(plain("ceil.default"), (6, 13)),
    "Round": Entry(plain("round.default"), (11, 22)),
    "Sin": Entry(plain("sin.default"), (7, 22)),
    "Cos": Entry(plain("cos.default"), (7, 22)),
    "Not": Entry(plain("logical_not.default"), (1,)),
    "Clip": Entry(clip, (6, 11, 12, 13)),
    "LeakyRelu": Entry(relu_like("leaky_relu.default", "alpha", 0.01), (6, 16)),
    "Elu": Entry(relu_like("elu.default", "alpha", 1.0), (6, 22)),
    "Selu": Entry(selu, (6, 22)),
    "Celu": Entry(celu, (12,)),
    "PRelu": Entry(prelu, (7, 9, 16)),
    "HardSigmoid": Entry(hard_sigmoid, (6, 22)),
    "Gelu": Entry(gelu, (20,)),
    "Add": Entry(add, (7, 13, 14)),
    "Sum": Entry(total, (6, 8, 13)),
    "Sub": Entry(arithmetic("sub.Tensor"), (7, 13, 14)),
    "Mul": Entry(multiply, (7, 13, 14)),
    "Div": Entry(divide, (7, 13, 14)),
    "Pow": Entry(power, (7, 12, 13, 15)),
    "Mean": Entry(mean_of, (6, 8, 13)),
    "Softsign": Entry(softsign, (1, 22)),
    "Min": Entry(smallest, (8, 12, 13)),
    "Max": Entry(largest, (8, 12, 13)),
    "Equal": Entry(constant_only(torch.eq), (7, 11, 13, 19)),
    "Greater": Entry(constant_only(torch.gt), (7, 9, 13)),
    "GreaterOrEqual": Entry(constant_only(torch.ge), (12, 16)),
    "Less": Entry(constant_only(torch.lt), (7, 9, 13)),
    "LessOrEqual": Entry(constant_only(torch.le), (12, 16)),
    "And": Entry(constant_only(torch.logical_and), (7,)),
    "Or": Entry(constant_only(torch.logical_or), (7,)),
    "Where": Entry(where, (9, 16)),
    "Cast": Entry(cast, (6, 9, 13, 19, 21, 23, 24, 25)),
    "CastLike": Entry(cast_like, (15, 19, 21, 23, 24, 25)),
    "Identity": Entry(identity, (1, 13, 14, 16, 19, 21, 23, 24, 25)),
    "Dropout": Entry(dropout, (7, 10, 12, 13, 22)),
}
