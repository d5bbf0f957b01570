"""ONNX's normalisations and reductions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ._onnx_at import At, Entry, Rule, Value
from ._onnx_file import bad_onnx


def batch_norm(at: At) -> Value:
    """At inference; the outputs of training are not computed."""
    if at.version < 9 and not at.flag("spatial", True):
        raise at.unsupported("its statistics are not one a channel", "export with spatial=1")
    if at.version >= 14 and at.flag("training_mode"):
        raise at.unsupported("it is in training mode", "call model.eval() before the export")
    at.number("momentum", 0.9)
    x, gamma, beta, mean, variance = (at.value(i) for i in range(5))
    eps = at.number("epsilon", 1e-5)
    return at.emit("_native_batch_norm_legit_no_training.default", x, gamma, beta, mean, variance, 0.1, eps)


def instance_norm(at: At) -> Value:
    x, gamma, beta = (at.value(i) for i in range(3))
    eps = at.number("epsilon", 1e-5)
    return at.emit("instance_norm.default", x, gamma, beta, None, None, True, 0.0, eps, False)


def group_norm(at: At) -> Value:
    """Opset 18 has one scale a group, opset 21 one a channel."""
    x, gamma, beta = (at.value(i) for i in range(3))
    groups, eps = at.integer("num_groups"), at.number("epsilon", 1e-5)
    at.integer("stash_type", 1)
    if len(x.shape) < 2 or groups < 1 or x.shape[1] % groups:
        raise bad_onnx(f"GroupNormalization of {list(x.shape)} in {groups} groups", at.node.loc)
    if at.version < 21:
        places = torch.arange(groups).repeat_interleave(x.shape[1] // groups)
        gamma, beta = (at.emit("index_select.default", value, 0, at.fixed(places)) for value in (gamma, beta))
    return at.emit("group_norm.default", x, groups, gamma, beta, eps)


def layer_norm(at: At) -> Value:
    x, gamma, beta = at.value(0), at.value(1), at.optional(2)
    axis, eps = at.axis(at.integer("axis", -1), len(x.shape)), at.number("epsilon", 1e-5)
    at.integer("stash_type", 1)
    shape = x.shape[axis:]
    if gamma.shape != shape:
        gamma = at.emit("expand.default", gamma, shape)
    if beta is not None and beta.shape != shape:
        beta = at.emit("expand.default", beta, shape)
    return at.emit("layer_norm.default", x, shape, gamma, beta, eps)


def local_response_norm(at: At) -> Value:
    """x / (bias + alpha / size * (sum of squares over neighbouring channels)) ** beta."""
    x, size = at.value(0), at.integer("size")
    alpha, beta, bias = at.number("alpha", 1e-4), at.number("beta", 0.75), at.number("bias", 1.0)
    if len(x.shape) < 3 or not 1 <= size <= 65535:
        raise bad_onnx(f"LRN of {list(x.shape)} over {size} channels", at.node.loc)
    channels, rest = x.shape[1], math.prod(x.shape[2:])
    squares = at.emit("reshape.default", at.emit("square.default", x), (x.shape[0], 1, channels, rest))
    before = (size - 1) // 2
    padded = at.emit("pad.default", squares, (0, 0, before, size - 1 - before))
    mean = at.emit("avg_pool2d.default", padded, (size, 1), (1, 1))
    energy = at.emit("reshape.default", mean, x.shape)
    base = at.emit("add.Tensor", at.emit("mul.Tensor", energy, alpha), bias)
    return at.emit("mul.Tensor", x, at.emit("pow.Tensor_Scalar", base, -beta))


def lp_norm(at: At) -> Value:
    """x over its norm; of zeros, zeros."""
    x = at.value(0)
    axis, order = at.axis(at.integer("axis", -1), len(x.shape)), at.integer("p", 2)
    if order != 2:
        raise at.unsupported(f"it is the norm of order {order}", "use p=2")
    norm = at.emit("linalg_vector_norm.default", x, 2, (axis,), True)
    return at.emit("div.Tensor", x, at.emit("clamp.default", norm, torch.finfo(torch.float32).tiny))


def along_axis(target: str) -> Rule:
    """Softmax and log-softmax; before opset 13 over all axes from the given one on."""

    def rule(at: At) -> Value:
        x = at.value(0)
        axis = at.axis(at.integer("axis", 1 if at.version < 13 else -1), len(x.shape))
        if at.version >= 13 or axis == len(x.shape) - 1:
            return at.emit(target, x, axis)
        flat = at.emit("reshape.default", x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        return at.emit("reshape.default", at.emit(target, flat, 1), x.shape)

    return rule


def reduction(target: str, axes_as_input: int, *, with_order: bool = False) -> Rule:
    """Axes are an attribute before the given opset, then an input; absent ones mean all, or none."""

    def rule(at: At) -> Value:
        x = at.value(0)
        axes, keep = _reduced(at, x, axes_as_input)
        if not axes:
            return x
        return at.emit(target, x, *((2,) if with_order else ()), axes, keep)

    return rule


def _reduced(at: At, x: Value, axes_as_input: int) -> tuple[tuple[int, ...], bool]:
    rank, keep = len(x.shape), at.flag("keepdims", True)
    if at.version < axes_as_input:
        given = at.ints("axes")
    else:
        given = at.integers(1) if at.has(1) else None
        if at.flag("noop_with_empty_axes") and not given:
            return (), keep
    axes = tuple(sorted({at.axis(axis, rank) for axis in given})) if given else tuple(range(rank))
    return axes, keep


def smallest(at: At) -> Value:
    x = at.value(0)
    axes, keep = _reduced(at, x, 18)
    if not axes:
        return x
    return at.emit("neg.default", at.emit("amax.default", at.emit("neg.default", x), axes, keep))


def sum_of_magnitudes(at: At) -> Value:
    x = at.value(0)
    axes, keep = _reduced(at, x, 18)
    magnitudes = at.emit("abs.default", x)
    return at.emit("sum.dim_IntList", magnitudes, axes, keep) if axes else magnitudes


def sum_of_squares(at: At) -> Value:
    x = at.value(0)
    axes, keep = _reduced(at, x, 18)
    squares = at.emit("square.default", x)
    return at.emit("sum.dim_IntList", squares, axes, keep) if axes else squares


def product(at: At) -> Value:
    """Of constants: the size of a shape."""
    x = at.value(0)
    axes, keep = _reduced(at, x, 18)
    for axis in reversed(axes):
        x = at.emit("prod.dim_int", x, axis, keep)
    return x


def argmax(at: At) -> Value:
    x = at.value(0)
    axis = at.axis(at.integer("axis", 0), len(x.shape))
    if at.version >= 12 and at.flag("select_last_index"):
        raise at.unsupported("it takes the last of equals", "use select_last_index=0")
    index = at.emit("argmax.default", x, axis, False)
    if not at.flag("keepdims", True):
        return index
    return at.emit("reshape.default", index, (*x.shape[:axis], 1, *x.shape[axis + 1 :]))


def top_k(at: At) -> tuple[Value, ...]:
    x = at.value(0)
    count = at.integers(1) if at.version >= 10 else (at.integer("k"),)
    if len(count) != 1:
        raise at.unsupported(f"k is {str(list(count))[:40]}", "one whole number works")
    axis = at.axis(at.integer("axis", -1), len(x.shape))
    given = (x, *count, axis, at.flag("largest", True), at.flag("sorted", True))
    return tuple(at.emit("topk.default", *given, which=which) for which in (0, 1))


NORMALISE: Mapping[str, Entry] = {
    "BatchNormalization": Entry(batch_norm, (7, 9, 14, 15)),
    "InstanceNormalization": Entry(instance_norm, (6, 22)),
    "GroupNormalization": Entry(group_norm, (18, 21)),
    "LayerNormalization": Entry(layer_norm, (17,)),
    "LRN": Entry(local_response_norm, (1, 13)),
    "LpNormalization": Entry(lp_norm, (1, 22)),
    "Softmax": Entry(along_axis("softmax.int"), (1, 11, 13)),
    "LogSoftmax": Entry(along_axis("log_softmax.int"), (1, 11, 13)),
    "ReduceMean": Entry(reduction("mean.dim", 18), (1, 11, 13, 18)),
    "ReduceSum": Entry(reduction("sum.dim_IntList", 13), (1, 11, 13)),
    "ReduceMax": Entry(reduction("amax.default", 18), (1, 11, 12, 13, 18, 20)),
    "ReduceMin": Entry(smallest, (1, 11, 12, 13, 18, 20)),
    "ReduceL1": Entry(sum_of_magnitudes, (1, 11, 13, 18)),
    "ReduceL2": Entry(reduction("linalg_vector_norm.default", 18, with_order=True), (1, 11, 13, 18)),
    "ReduceSumSquare": Entry(sum_of_squares, (1, 11, 13, 18)),
    "ReduceProd": Entry(product, (1, 11, 13, 18)),
    "ArgMax": Entry(argmax, (1, 11, 12, 13)),
    "TopK": Entry(top_k, (1, 10, 11, 24)),
}
