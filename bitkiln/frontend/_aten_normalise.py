"""ATen's normalisations and reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from bitkiln.ir.ops import (
    Abs,
    Add,
    AvgPool2d,
    BatchNorm,
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    MaxPool2d,
    Mul,
    Op,
    Power,
    ReduceMax,
    ReduceMean,
    ReduceNorm,
    ReduceSum,
    Softmax,
    TopK,
)

from ._lower import Activation, At, Known, Rule, Value

_Kind = type[ReduceMean | ReduceSum | ReduceMax | ReduceNorm]


def batch_norm(at: At) -> tuple[Value, ...]:
    return (_batch_norm(at),)


def batch_norm_training(at: At) -> Value:
    """The overload of a program that was not decomposed: it says itself whether it trains."""
    if at.flag("training"):
        raise at.unsupported("the model is in training mode", "call model.eval() before the export")
    return _batch_norm(at)


def _batch_norm(at: At) -> Value:
    x = at.activation("input")
    mean, variance = at.known("running_mean"), at.known("running_var")
    if mean is None or variance is None:
        raise at.unsupported("it has no running statistics", "use BatchNorm with track_running_stats=True")
    one = torch.ones_like(mean.data)
    gamma = at.known("weight") or Known(at.name_of("weight"), one)
    beta = at.known("bias") or Known(at.name_of("bias"), torch.zeros_like(one))
    if x.shape[0] == 1:
        names = [at.lowering.constant(known, at.call.loc) for known in (gamma, beta, mean, variance)]
        return at.emit(BatchNorm(at.number("eps")), x.name, *names)
    # The batch axis is merged with another: scale and shift along the program's axis 1.
    scale = gamma.data.double() / torch.sqrt(variance.data.double() + at.number("eps"))
    shift = beta.data - mean.data * scale
    shape = (-1, *[1] * (len(x.shape) - 2))
    scaled, shifted = (
        at.lowering.constant(Known(at.name_of(what), data.float().reshape(shape)), at.call.loc)
        for what, data in (("scale", scale), ("shift", shift))
    )
    return at.emit(Add(), at.emit(Mul(), x.name, scaled).name, shifted)


def layer_norm(at: At) -> Value:
    return _layer_norm(at)


def native_layer_norm(at: At) -> tuple[Value, ...]:
    return (_layer_norm(at),)


def _layer_norm(at: At) -> Value:
    x = at.activation("input")
    shape = at.optional("normalized_shape")
    axes = len(shape) if isinstance(shape, tuple) else 1
    name, _ = at.along(x, len(x.shape) - axes)
    return at.emit(LayerNorm(axes, at.number("eps")), name, *_parameters(at))


def rms_norm(at: At) -> Value:
    """x over the root of the mean square along the last axes, times the weight."""
    x = at.activation("input")
    shape, rank = at.optional("normalized_shape"), len(x.shape)
    dims = tuple(range(rank - (len(shape) if isinstance(shape, tuple) else 1), rank))
    eps = torch.finfo(torch.float32).eps if at.optional("eps") is None else at.number("eps")
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    squares, offset = at.along(at.emit(Power(2.0), x.name), *dims)
    mean = at.emit(ReduceMean(tuple(dim + offset for dim in dims), True), squares, shape=kept)
    shifted = at.emit(Add(), mean.name, _number(at, "eps", eps), shape=kept)
    result = at.emit(Mul(), x.name, at.emit(Power(-0.5), shifted.name, shape=kept).name)
    weight = at.weight("weight")
    return result if weight is None else at.emit(Mul(), result.name, weight)


def group_norm(at: At) -> Value:
    return at.emit(GroupNorm(at.integer("num_groups"), at.number("eps")), at.activation("input").name, *_parameters(at))


def instance_norm(at: At) -> Value:
    if not at.flag("use_input_stats"):
        return _batch_norm(at)
    x = at.activation("input")
    return at.emit(GroupNorm(x.shape[1], at.number("eps")), x.name, *_parameters(at))


def _parameters(at: At) -> tuple[str, ...]:
    """The weight and the bias behind it; a bias alone has a weight of ones."""
    weight, bias = at.weight("weight"), at.weight("bias")
    if weight is None and bias is not None:
        ones = torch.ones(at.lowering.build.types[bias].shape)
        weight = at.lowering.constant(Known(at.name_of("weight"), ones), at.call.loc)
    return tuple(name for name in (weight, bias) if name is not None)


def softmax(at: At) -> Value:
    return _along_dim(at, Softmax)


def log_softmax(at: At) -> Value:
    return _along_dim(at, LogSoftmax)


def _along_dim(at: At, kind: type[Softmax] | type[LogSoftmax]) -> Value:
    x = at.activation(next(iter(at.call.arguments)))
    _check_dtype(at)
    dim = at.dim("dim", len(x.shape))
    name, offset = at.along(x, dim)
    return at.emit(kind(dim + offset), name)


def _check_dtype(at: At) -> None:
    if at.call.arguments.get("dtype") not in (None, torch.float32):
        raise at.unsupported(f"it computes in {at.optional('dtype')}", "compute in float32")


def mean(at: At) -> Value:
    """Over height and width it is pooling, which hardware has."""
    _check_dtype(at)
    return _pooled(at, AvgPool2d) or _reduce(at, at.dims("dim", len(at.activation("self").shape)), ReduceMean)


def mean_of_all(at: At) -> Value:
    _check_dtype(at)
    return _reduce(at, tuple(range(len(at.activation("self").shape))), ReduceMean)


def total(at: At) -> Value:
    _check_dtype(at)
    return _reduce(at, at.dims("dim", len(at.activation("self").shape)), ReduceSum)


def largest(at: At) -> Value:
    """Over height and width it is pooling, as of a mean."""
    return _pooled(at, MaxPool2d) or _reduce(at, at.dims("dim", len(at.activation("self").shape)), ReduceMax)


def largest_along(at: At) -> tuple[Value, ...]:
    """Values only, no indices."""
    return (largest(at),)


def smallest(at: At) -> Value:
    """The largest of the opposites, turned back."""
    x, minus = at.activation("self"), _number(at, "factor", -1.0)
    opposite = at.emit(Mul(), x.name, minus, shape=x.shape)
    result = _reduced(at, opposite, at.dims("dim", len(x.shape)), ReduceMax)
    return at.emit(Mul(), result.name, minus)


def smallest_along(at: At) -> tuple[Value, ...]:
    """Values only, no indices."""
    return (smallest(at),)


def vector_norm(at: At) -> Value:
    _check_dtype(at)
    x, order = at.activation("self"), at.number("ord")
    dims = at.dims("dim", len(x.shape))
    if order == 2:
        return _reduce(at, dims, ReduceNorm)
    if order not in (1, math.inf):
        raise at.unsupported(f"it is the norm of order {order}", "use the Euclidean norm, or order 1 or infinity")
    return _reduced(at, at.emit(Abs(), x.name, shape=x.shape), dims, ReduceSum if order == 1 else ReduceMax)


def _pooled(at: At, kind: type[AvgPool2d] | type[MaxPool2d]) -> Value | None:
    """The reduction of one image's height and width as pooling; None if it is over something else."""
    x = at.activation("self")
    if len(x.shape) != 4 or x.shape[0] != 1 or sorted(at.dims("dim", 4)) != [2, 3]:
        return None
    kernel = (x.shape[2], x.shape[3])
    return at.reshape(at.emit(kind(kernel, kernel), x.name, shape=(*x.shape[:2], 1, 1)), at.shape)


def _reduce(at: At, dims: tuple[int, ...], kind: _Kind) -> Value:
    return _reduced(at, at.activation("self"), dims, kind)


def _reduced(at: At, x: Activation, dims: tuple[int, ...], kind: _Kind) -> Activation:
    name, offset = at.along(x, *dims)
    keep = bool(at.call.arguments.get("keepdim", False))
    op: Op = kind(tuple(sorted(dim + offset for dim in dims)), keep)
    return at.emit(op, name)


def variance(at: At) -> Value:
    """Mean of the squared distances from the mean, times n / (n - correction)."""
    x = at.activation("self")
    dims = at.dims("dim", len(x.shape))
    if "unbiased" in at.call.arguments:
        correction = 1.0 if at.flag("unbiased") else 0.0
    else:
        correction = 1.0 if at.optional("correction") is None else at.number("correction")
    count = math.prod(x.shape[dim] for dim in dims)
    if count <= correction:
        raise at.unsupported(f"it is the variance of {count} elements with correction {correction:g}", "use more")
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    name, offset = at.along(x, *dims)
    axes = tuple(sorted(dim + offset for dim in dims))
    mean = at.emit(ReduceMean(axes, True), name, shape=kept)
    minus = at.emit(Mul(), mean.name, _number(at, "factor", -1.0), shape=kept)
    distance = at.emit(Add(), x.name, minus.name, shape=x.shape)
    squares, _ = at.along(at.emit(Power(2.0), distance.name, shape=x.shape), *dims)
    spread = at.emit(ReduceMean(axes, at.flag("keepdim")), squares)
    return at.emit(Mul(), spread.name, _number(at, "factor", count / (count - correction)))


def deviation(at: At) -> Value:
    """Square root of the variance."""
    spread = variance(at)
    return at.emit(Power(0.5), at.as_activation(spread).name)


def _number(at: At, name: str, value: float) -> str:
    """A constant that stands alone."""
    return at.lowering.constant(Known(at.name_of(name), torch.tensor(value)), at.call.loc)


def argmax(at: At) -> Value:
    x = at.activation("self")
    rank = len(x.shape)
    if rank != 2 or at.optional("dim") is None or at.dim("dim", rank) != 1 or at.flag("keepdim"):
        raise at.unsupported(f"it looks at {list(x.shape)}", "take argmax(dim=1) of [batch, classes]")
    return at.emit(TopK(), x.name)


def top_k(at: At) -> tuple[Value | None, ...]:
    """Indices, and of one element its value, too; those of several would have to be gathered."""
    x, k = at.activation("self"), at.integer("k")
    dim, rank = at.dim("dim", len(x.shape)), len(x.shape)
    if not at.flag("largest"):
        raise at.unsupported("it looks for the smallest", "negate what comes in")
    if not at.is_read[1] and k == 1:
        name, offset = at.along(x, dim)
        return at.emit(ReduceMax((dim + offset,), True), name), None
    if not at.is_read[1]:
        raise at.unsupported(f"it gives the values of the {k} largest", "use only the indices")
    if rank != 2 or dim != 1 or x.shape[0] != 1:
        raise at.unsupported(f"it looks at {list(x.shape)}", "take topk(k, dim=1) of [batch, classes]")
    return None, at.reshape(at.emit(TopK(k), x.name, shape=(1, k) if k > 1 else (1,)), (1, k))


NORMALISE: Mapping[str, Rule] = {
    "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten.batch_norm.default": batch_norm_training,
    "aten.layer_norm.default": layer_norm,
    "aten.native_layer_norm.default": native_layer_norm,
    "aten.rms_norm.default": rms_norm,
    "aten.group_norm.default": group_norm,
    "aten.instance_norm.default": instance_norm,
    "aten.softmax.int": softmax,
    "aten._softmax.default": softmax,
    "aten.log_softmax.int": log_softmax,
    "aten._log_softmax.default": log_softmax,
    "aten.mean.dim": mean,
    "aten.mean.default": mean_of_all,
    "aten.sum.dim_IntList": total,
    "aten.amax.default": largest,
    "aten.max.dim": largest_along,
    "aten.amin.default": smallest,
    "aten.min.dim": smallest_along,
    "aten.linalg_vector_norm.default": vector_norm,
    "aten.var.correction": variance,
    "aten.var.dim": variance,
    "aten.std.correction": deviation,
    "aten.std.dim": deviation,
    "aten.argmax.default": argmax,
    "aten.topk.default": top_k,
}
