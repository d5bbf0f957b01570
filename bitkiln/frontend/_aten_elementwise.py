"""ATen's operations on single elements, sums with broadcasting, and batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from bitkiln.ir.ops import Add, BatchNorm, Clip, Relu

from ._lower import At, Known, Rule, Value


def relu(at: At) -> Value:
    return at.emit(Relu(), at.activation("self").name)


def relu6(at: At) -> Value:
    return at.emit(Clip(0.0, 6.0), at.activation("self").name)


def hardtanh(at: At) -> Value:
    return at.emit(Clip(at.number("min_val"), at.number("max_val")), at.activation("self").name)


def add(at: At) -> Value:
    if at.number("alpha") != 1:
        raise at.unsupported(f"alpha is {at.number('alpha')}", "multiply before the addition")
    return at.emit(Add(), *operands(at))


def operands(at: At) -> tuple[str, str]:
    """The two arguments of a broadcasting operation. Those that depend on the input get the axes of the result, so
    that their batch axes meet; constants broadcast from the right as they are."""
    names = []
    for value in (at.value("self"), at.value("other")):
        if isinstance(value, Known):
            names.append(at.lowering.constant(value, at.call.loc))
            continue
        aligned = (*[1] * (len(at.shape) - len(value.shape)), *value.shape)
        graph_shape = aligned if at.shape[:1] == (1,) else (1, *aligned)
        names.append(at.under(value, graph_shape, value.shape).name)
    return names[0], names[1]


def batch_norm(at: At) -> tuple[Value, ...]:
    x = at.activation("input")
    if len(x.shape) < 2 or x.shape[0] != 1:
        raise at.unsupported(f"it normalises {list(x.shape)}", "normalise along axis 1 behind the batch axis")
    mean, variance = at.known("running_mean"), at.known("running_var")
    assert mean is not None and variance is not None
    one = torch.ones_like(mean.data)
    gamma = at.known("weight") or Known(f"{at.call.name}.weight", one)
    beta = at.known("bias") or Known(f"{at.call.name}.bias", torch.zeros_like(one))
    names = [at.lowering.constant(known, at.call.loc) for known in (gamma, beta, mean, variance)]
    return (at.emit(BatchNorm(at.number("eps")), x.name, *names),)


def same(at: At) -> Value:
    """An operation that changes nothing at inference."""
    return at.value(next(iter(at.call.arguments)))


def dropout(at: At) -> Value:
    if at.flag("train"):
        raise at.unsupported("the model is in training mode", "call model.eval() before the import")
    return at.value("input")


ELEMENTWISE: Mapping[str, Rule] = {
    "aten.relu.default": relu,
    "aten.relu6.default": relu6,
    "aten.hardtanh.default": hardtanh,
    "aten.add.Tensor": add,
    "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten.clone.default": same,
    "aten.alias.default": same,
    "aten.detach.default": same,
    "aten.contiguous.default": same,
    "aten.dropout.default": dropout,
}
