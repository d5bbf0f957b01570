"""ATen's operations on single elements, and arithmetic with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from bitkiln.ir.ops import (
    Abs,
    Add,
    Clip,
    Concat,
    Div,
    Elu,
    Exp,
    Expand,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Mish,
    Mul,
    Op,
    Power,
    ReduceMax,
    Relu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)

from ._aten_linear import HIDDEN
from ._aten_shape import part
from ._lower import Activation, At, Known, Rule, Value


def pointwise(op: Op) -> Rule:
    """The rule of an operation without attributes."""
    return lambda at: at.emit(op, _first(at).name)


def _first(at: At) -> Activation:
    return at.activation(next(iter(at.call.arguments)))


def hardtanh(at: At) -> Value:
    return at.emit(Clip(at.number("min_val"), at.number("max_val")), _first(at).name)


def clamp(at: At) -> Value:
    """One limit may be missing."""
    given = at.call.arguments
    lo = -math.inf if given.get("min") is None else at.number("min")
    hi = math.inf if given.get("max") is None else at.number("max")
    return at.emit(Clip(lo, hi), _first(at).name)


def gelu(at: At) -> Value:
    return at.emit(Gelu(at.optional("approximate") == "tanh"), _first(at).name)


def leaky_relu(at: At) -> Value:
    return at.emit(LeakyRelu(at.number("negative_slope")), _first(at).name)


def elu(at: At) -> Value:
    """scale * x where it is positive, else scale * alpha * (exp(input_scale * x) - 1)."""
    return _elu(at, at.number("alpha"), at.number("scale"), at.number("input_scale"))


def selu(at: At) -> Value:
    return _elu(at, 1.6732632423543772, 1.0507009873554805, 1.0)


def celu(at: At) -> Value:
    return _elu(at, at.number("alpha"), 1.0, 1 / at.number("alpha"))


def _elu(at: At, alpha: float, scale: float, input_scale: float) -> Activation:
    if not 0 < input_scale < math.inf:
        raise at.unsupported(f"it scales its input by {input_scale}", "use a positive alpha")
    scaled = _times(at, _first(at), input_scale)
    return _times(at, at.emit(Elu(alpha * input_scale), scaled.name), scale / input_scale)


def _times(at: At, x: Activation, factor: float) -> Activation:
    if factor == 1:
        return x
    return at.emit(Mul(), x.name, at.lowering.constant(number(at, factor), at.call.loc), shape=x.shape)


def log_sigmoid(at: At) -> Value:
    """The opposite of softplus of the opposite."""
    return _times(at, at.emit(Softplus(), _times(at, _first(at), -1.0).name), -1.0)


def glu(at: At) -> Value:
    """One half times the sigmoid of the other."""
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    half = x.shape[dim] // 2
    values, gates = part(at, x, dim, 0, half), part(at, x, dim, half, 2 * half)
    return at.emit(Mul(), values.name, at.emit(Sigmoid(), gates.name).name)


def log1p(at: At) -> Value:
    one = at.lowering.constant(number(at, 1.0), at.call.loc)
    return at.emit(Log(), at.emit(Add(), _first(at).name, one).name)


def scalar_power(at: At) -> Value:
    """A number to the power of x."""
    base = at.number("self")
    if not 0 < base < math.inf:
        raise at.unsupported(f"its base is {base}", "use a positive base")
    return at.emit(Exp(), _times(at, at.activation("exponent"), math.log(base)).name)


def maximum(at: At) -> Value:
    return _larger(at, at.value("self"), at.value("other"))


def minimum(at: At) -> Value:
    return _smaller(at, at.value("self"), at.value("other"))


def clamp_tensor(at: At) -> Value:
    """Limits that are tensors; either may be missing."""
    result: Value = at.value("self")
    if at.optional("min") is not None:
        result = _larger(at, result, at.value("min"))
    return result if at.optional("max") is None else _smaller(at, result, at.value("max"))


def _larger(at: At, x: Value, y: Value) -> Activation:
    """The larger of two: the largest along an axis that they are stacked on; with one number it is a clip."""
    for value, limit in ((x, y), (y, x)):
        if isinstance(value, Activation) and isinstance(limit, Known) and limit.data.numel() == 1:
            return at.emit(Clip(float(limit.data.reshape(())), math.inf), at.aligned(value, len(at.shape)))
    names = [at.lowering.build.add(Expand(_in_graph(at)), (name,), at.name_of("expand"), at.call.loc)
             for name in (at.aligned(value, len(at.shape)) for value in (x, y))]  # fmt: skip
    rows = [at.under(Activation(name, at.shape), (1, 1, *at.shape)) for name in names]
    both = at.emit(Concat(1), *rows, shape=(2, *at.shape))
    return at.emit(ReduceMax((1,)), both.name)


def _in_graph(at: At) -> tuple[int, ...]:
    return at.shape if at.shape[:1] == (1,) else (1, *at.shape)


def _smaller(at: At, x: Value, y: Value) -> Activation:
    opposites = [
        Known(value.path, -value.data) if isinstance(value, Known) else _times(at, value, -1.0) for value in (x, y)
    ]
    return _times(at, _larger(at, *opposites), -1.0)


def softplus(at: At) -> Value:
    return at.emit(Softplus(at.number("beta"), at.number("threshold")), _first(at).name)


def prelu(at: At) -> Value:
    """max(x, 0) + slope * min(x, 0), with one slope or one a channel."""
    x, slope = at.activation("self"), at.known("weight")
    assert slope is not None
    shape = (1, -1, *[1] * (len(x.shape) - 2)) if len(x.shape) > 1 else (1,)
    slopes = at.lowering.constant(Known(slope.path, slope.data.reshape(shape)), at.call.loc)
    negative = at.emit(Mul(), at.emit(Clip(-math.inf, 0.0), x.name).name, slopes)
    return at.emit(Add(), at.emit(Relu(), x.name).name, negative.name)


def power(at: At) -> Value:
    exponent = at.number("exponent")
    return _first(at) if exponent == 1 else at.emit(Power(exponent), _first(at).name)


def add(at: At) -> Value:
    return _sum(at, at.value("self"), at.value("other"), at.number("alpha"))


def subtract(at: At) -> Value:
    return _sum(at, at.value("self"), at.value("other"), -at.number("alpha"))


def reverse_subtract(at: At) -> Value:
    return _sum(at, at.value("other"), at.value("self"), -at.number("alpha"))


def _sum(at: At, x: Value, y: Value, factor: float) -> Value:
    """x + factor * y"""
    if factor != 1 and isinstance(y, Known):
        y = Known(y.path, y.data * factor)
    elif factor != 1:
        assert isinstance(y, Activation)
        y = at.emit(Mul(), y.name, at.lowering.constant(number(at, factor), at.call.loc), shape=y.shape)
    return at.emit(Add(), *operands(at, x, y))


def multiply(at: At) -> Value:
    return at.emit(Mul(), *operands(at, at.value("self"), at.value("other")))


def divide(at: At) -> Value:
    x, y = at.value("self"), at.value("other")
    if isinstance(y, Known):
        return at.emit(Mul(), *operands(at, x, Known(y.path, 1 / y.data)))
    return at.emit(Div(), *operands(at, x, y))


def negate(at: At) -> Value:
    x = _first(at)
    return at.emit(Mul(), x.name, at.lowering.constant(number(at, -1.0), at.call.loc))


def masked_fill(at: At) -> Value:
    value = Known(at.name_of("value"), torch.tensor(at.number("value")))
    return _choose(at, at.known("mask"), value, at.value("self"))


def where(at: At) -> Value:
    return _choose(at, at.known("condition"), at.value("self"), at.value("other"))


def _choose(at: At, mask: Known | None, chosen: Value, other: Value) -> Value:
    """chosen * mask + other * (1 - mask), with a known mask; infinite constants become very large ones."""
    assert mask is not None
    parts = []
    for value, keep in ((chosen, mask.data), (other, ~mask.data)):
        if isinstance(value, Known):
            data = torch.where(keep, value.data.to(torch.float32).clamp(HIDDEN, -HIDDEN), 0.0)
            parts.append(at.lowering.constant(Known(at.name_of("fill"), data), at.call.loc))
        else:
            factor = at.lowering.constant(Known(at.name_of("mask"), keep.to(torch.float32)), at.call.loc)
            parts.append(at.emit(Mul(), at.aligned(value, len(at.shape)), factor).name)
    return at.emit(Add(), *parts)


def number(at: At, value: float) -> Known:
    """A constant that stands alone."""
    return Known(at.name_of("factor"), torch.tensor(value))


def operands(at: At, *values: Value) -> tuple[str, ...]:
    """The arguments of a broadcasting operation. Those that depend on the input get the axes of the result, so that
    their batch axes meet; constants broadcast from the right as they are."""
    return tuple(
        at.lowering.constant(value, at.call.loc) if isinstance(value, Known) else at.aligned(value, len(at.shape))
        for value in values
    )


def same(at: At) -> Value:
    """An operation that changes nothing at inference."""
    return _first(at)


def same_dtype(at: At) -> Value:
    """A conversion to the type that the value already has."""
    if at.optional("dtype") not in (None, torch.float32):
        raise at.unsupported(f"it converts to {at.optional('dtype')}", "compute in float32")
    return _first(at)


def dropout(at: At) -> Value:
    if at.flag("train"):
        raise at.unsupported("the model is in training mode", "call model.eval() before the import")
    return at.value("input")


def nothing(at: At) -> tuple[Value, ...]:
    """A check that the exporter has already made."""
    return ()


def filled(value: float) -> Rule:
    """A new tensor of one value: only the input's shape counts."""
    return lambda at: Known(at.name_of("constant"), torch.full(at.shape, value))


def filled_with(at: At) -> Value:
    return Known(at.name_of("constant"), torch.full(at.shape, at.number("fill_value")))


ELEMENTWISE: Mapping[str, Rule] = {
    "aten.relu.default": pointwise(Relu()),
    "aten.relu6.default": pointwise(Clip(0.0, 6.0)),
    "aten.hardtanh.default": hardtanh,
    "aten.clamp.default": clamp,
    "aten.clamp_min.default": clamp,
    "aten.clamp_max.default": clamp,
    "aten.sigmoid.default": pointwise(Sigmoid()),
    "aten.tanh.default": pointwise(Tanh()),
    "aten.silu.default": pointwise(Silu()),
    "aten.hardsigmoid.default": pointwise(HardSigmoid()),
    "aten.hardswish.default": pointwise(HardSwish()),
    "aten.gelu.default": gelu,
    "aten.mish.default": pointwise(Mish()),
    "aten.leaky_relu.default": leaky_relu,
    "aten.elu.default": elu,
    "aten.selu.default": selu,
    "aten.celu.default": celu,
    "aten.glu.default": glu,
    "aten.log_sigmoid.default": log_sigmoid,
    "aten.abs.default": pointwise(Abs()),
    "aten.exp.default": pointwise(Exp()),
    "aten.log.default": pointwise(Log()),
    "aten.log1p.default": log1p,
    "aten.pow.Scalar": scalar_power,
    "aten.maximum.default": maximum,
    "aten.minimum.default": minimum,
    "aten.clamp.Tensor": clamp_tensor,
    "aten.softplus.default": softplus,
    "aten.prelu.default": prelu,
    "aten.square.default": pointwise(Power(2.0)),
    "aten.sqrt.default": pointwise(Power(0.5)),
    "aten.rsqrt.default": pointwise(Power(-0.5)),
    "aten.reciprocal.default": pointwise(Power(-1.0)),
    "aten.pow.Tensor_Scalar": power,
    "aten.add.Tensor": add,
    "aten.sub.Tensor": subtract,
    "aten.rsub.Scalar": reverse_subtract,
    "aten.mul.Tensor": multiply,
    "aten.mul.Scalar": multiply,
    "aten.div.Tensor": divide,
    "aten.neg.default": negate,
    "aten.masked_fill.Scalar": masked_fill,
    "aten.where.self": where,
    "aten.clone.default": same,
    "aten.alias.default": same,
    "aten.detach.default": same,
    "aten.contiguous.default": same,
    "aten.lift_fresh_copy.default": same,
    "aten._to_copy.default": same_dtype,
    "aten.to.dtype": same_dtype,
    "aten.dropout.default": dropout,
    "aten.feature_dropout.default": dropout,
    "aten._assert_tensor_metadata.default": nothing,
    "aten.zeros_like.default": filled(0.0),
    "aten.ones_like.default": filled(1.0),
    "aten.new_zeros.default": filled(0.0),
    "aten.new_ones.default": filled(1.0),
    "aten.full_like.default": filled_with,
    "aten.new_full.default": filled_with,
}
