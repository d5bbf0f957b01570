"""ATen's operations that move elements. A view is read as a row-major reshape, whatever the strides were."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir.ops import ArgMax, Concat

from ._lower import At, Rule, Value


def reshape(at: At) -> Value:
    """All kinds of views: the exporter has already worked out the shape."""
    return at.reshape(at.activation(next(iter(at.call.arguments))), at.shape, suffix="")


def cat(at: At) -> Value:
    parts = at.activations("tensors")
    rank = len(at.shape)
    dim = at.dim("dim", rank)
    if len(parts) == 1:
        return parts[0]
    if at.shape[:1] == (1,):
        return at.emit(Concat(dim), *(part.name for part in parts))
    moved = [at.under(part, (1, *part.shape), part.shape) for part in parts]
    return at.emit(Concat(dim + 1), *(part.name for part in moved))


def argmax(at: At) -> Value:
    x = at.activation("self")
    rank = len(x.shape)
    if rank != 2 or at.optional("dim") is None or at.dim("dim", rank) != 1 or at.flag("keepdim"):
        raise at.unsupported(f"it looks at {list(x.shape)}", "take argmax(dim=1) of [batch, classes]")
    return at.emit(ArgMax(), x.name)


SHAPE: Mapping[str, Rule] = {
    "aten.view.default": reshape,
    "aten._unsafe_view.default": reshape,
    "aten.reshape.default": reshape,
    "aten.flatten.using_ints": reshape,
    "aten.squeeze.default": reshape,
    "aten.squeeze.dim": reshape,
    "aten.squeeze.dims": reshape,
    "aten.unsqueeze.default": reshape,
    "aten.cat.default": cat,
    "aten.argmax.default": argmax,
}
