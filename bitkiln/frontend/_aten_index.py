"""ATen's operations that choose elements by known indices, or write over some: each becomes a list of places."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ._aten_shape import join, part, permuted, taken
from ._lower import Activation, At, Known, Rule, Value
from ._program import Ref, bad_program

_MOST_PLACES = 1 << 16  # of one axis; a longer list is no network's


def slice_scatter(at: At) -> Value:
    """x with a run of slices replaced: what writing into `x[:, 2:4]` means."""
    x, source = at.activation("self"), at.activation("src")
    dim = at.dim("dim", len(x.shape))
    start = 0 if at.optional("start") is None else at.integer("start")
    stop = x.shape[dim] if at.optional("end") is None else at.integer("end")
    start, stop, step = slice(start, stop, at.integer("step")).indices(x.shape[dim])
    if step != 1:
        size = x.shape[dim]
        places = list(range(size))
        places[start:stop:step] = range(size, size + source.shape[dim])
        return _places(at, join(at, (x, source), dim), dim, places)
    return _replaced(at, x, source, dim, start, stop)


def select_scatter(at: At) -> Value:
    """x with one slice replaced: what writing into `x[:, 0]` means."""
    x, source = at.activation("self"), at.activation("src")
    dim = at.dim("dim", len(x.shape))
    index = at.integer("index") % x.shape[dim]
    shape = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
    return _replaced(at, x, at.reshape(source, shape), dim, index, index + 1)


def _replaced(at: At, x: Activation, source: Activation, dim: int, start: int, stop: int) -> Activation:
    parts = [part(at, x, dim, 0, start)] if start else []
    parts.append(source)
    if stop < x.shape[dim]:
        parts.append(part(at, x, dim, stop, x.shape[dim]))
    return join(at, tuple(parts), dim)


def unfold(at: At) -> Value:
    """Windows of an axis, each along a new last one."""
    x, size, step = _first(at), at.integer("size"), at.integer("step")
    dim = at.dim("dimension", len(x.shape))
    windows = at.shape[dim]
    found = _places(at, x, dim, [start * step + i for start in range(windows) for i in range(size)])
    parts = at.reshape(found, (*x.shape[:dim], windows, size, *x.shape[dim + 1 :]))
    rank = len(parts.shape)
    return permuted(at, parts, (*(axis for axis in range(rank) if axis != dim + 1), dim + 1))


def index_select(at: At) -> Value:
    x = _first(at)
    index = at.known("index")
    assert index is not None
    return _take(at, x, at.dim("dim", len(x.shape)), index.data)


def index(at: At) -> Value:
    """Known lists of indices along axes that stand side by side; the other axes stay whole."""
    x, indices = _first(at), at.optional("indices")
    lists = indices if isinstance(indices, tuple) else ()
    given = {dim: at.lowering.values[item.name] for dim, item in enumerate(lists) if isinstance(item, Ref)}
    known = [value.data for value in given.values() if isinstance(value, Known)]
    dims = list(given)
    if len(known) != len(given) or not dims or dims != list(range(dims[0], dims[0] + len(dims))):
        raise at.unsupported("it indexes by what depends on the input, or axes apart", "index with constant lists")
    rank = max(data.dim() for data in known)
    aligned = [data.reshape((1,) * (rank - data.dim()) + data.shape) for data in known]
    if _is_outer(aligned):
        for dim, data in zip(dims, aligned, strict=True):
            x = _take(at, x, dim, data.reshape(-1))
        return at.reshape(x, at.shape)
    sizes = x.shape[dims[0] : dims[-1] + 1]
    flat = torch.zeros((), dtype=torch.int64)
    for size, data in zip(sizes, torch.broadcast_tensors(*aligned), strict=True):
        flat = flat * size + torch.tensor(_checked(at, data.reshape(-1), size)).reshape(data.shape)
    merged = at.reshape(x, (*x.shape[: dims[0]], torch.Size(sizes).numel(), *x.shape[dims[-1] + 1 :]))
    return at.reshape(_take(at, merged, dims[0], flat.reshape(-1)), at.shape)


def _is_outer(lists: list[Tensor]) -> bool:
    """Whether each list varies along axes behind those of the one before it: then the axes are indexed in turn."""
    last = -1
    for data in lists:
        axes = [axis for axis, size in enumerate(data.shape) if size > 1]
        if axes and axes[0] <= last:
            return False
        last = axes[-1] if axes else last
    return True


def _take(at: At, x: Activation, dim: int, index: Tensor) -> Activation:
    return _places(at, x, dim, _checked(at, index, x.shape[dim]))


def _checked(at: At, index: Tensor, size: int) -> list[int]:
    """The indices as numbers from 0."""
    if index.is_floating_point() or index.dtype == torch.bool or index.is_complex():
        raise at.unsupported(f"its indices are {index.dtype}", "index with whole numbers")
    places = [int(place) for place in index]
    if not all(-size <= place < size for place in places):
        raise bad_program(f"{at.call.target}: an index is outside an axis of {size}", at.call.loc)
    return [place % size for place in places]


def _places(at: At, x: Activation, dim: int, places: list[int]) -> Activation:
    if not 1 <= len(places) <= _MOST_PLACES:
        raise at.unsupported(f"it takes {len(places)} elements along an axis", f"1 to {_MOST_PLACES} are possible")
    return taken(at, x, dim, places)


def _first(at: At) -> Activation:
    return at.activation(next(iter(at.call.arguments)))


INDEX: Mapping[str, Rule] = {
    "aten.slice_scatter.default": slice_scatter,
    "aten.select_scatter.default": select_scatter,
    "aten.unfold.default": unfold,
    "aten.index_select.default": index_select,
    "aten.index.Tensor": index,
}
