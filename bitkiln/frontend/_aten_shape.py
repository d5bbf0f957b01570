"""ATen's operations that move elements. A view is read as a row-major reshape, whatever the strides were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from bitkiln.ir.ops import Concat, Expand, Flip, Pad, PadMode, Permute, Roll, Slice, Take

from ._lower import MOST_ITEMS, Activation, At, Known, Rule, Value
from ._program import bad_program

Shape = tuple[int, ...]
Pieces = tuple[Value | None, ...]


def reshape(at: At) -> Value:
    """All kinds of views: the exporter has already worked out the shape."""
    return at.reshape(_first(at), at.shape)


def _first(at: At) -> Activation:
    return at.activation(next(iter(at.call.arguments)))


def cat(at: At) -> Value:
    return join(at, at.activations("tensors"), at.dim("dim", len(at.shape)))


def stack(at: At) -> Value:
    dim = at.dim("dim", len(at.shape))
    parts = at.activations("tensors")
    shape = (*at.shape[:dim], 1, *at.shape[dim + 1 :])
    return join(at, tuple(at.reshape(part, shape) for part in parts), dim)


def join(at: At, parts: tuple[Activation, ...], dim: int) -> Activation:
    """The parts one after the other along an ATen axis."""
    if len(parts) == 1:
        return parts[0]
    shape = (*parts[0].shape[:dim], sum(part.shape[dim] for part in parts), *parts[0].shape[dim + 1 :])
    offset = 0 if shape[:1] == (1,) else 1
    names = [at.under(part, (1,) * offset + part.shape) for part in parts]
    return at.emit(Concat(dim + offset), *names, shape=shape)


def taken(at: At, x: Activation, dim: int, places: Sequence[int]) -> Activation:
    """The elements at these places of an ATen axis, in that order."""
    name, offset = at.along(x, dim)
    shape = (*x.shape[:dim], len(places), *x.shape[dim + 1 :])
    return at.emit(Take(dim + offset, tuple(places)), name, shape=shape)


def permute(at: At) -> Value:
    x = _first(at)
    return permuted(at, x, at.dims("dims", len(x.shape)))


def transpose(at: At) -> Value:
    x = _first(at)
    order = list(range(len(x.shape)))
    first, second = (at.dim(name, len(order)) for name in list(at.call.arguments)[1:3])
    order[first], order[second] = order[second], order[first]
    return permuted(at, x, tuple(order))


def transpose_matrix(at: At) -> Value:
    return permuted(at, _first(at), (1, 0) if len(at.shape) == 2 else (0,))


def permuted(at: At, x: Activation, order: Shape) -> Activation:
    """Axis i of the result is axis order[i] of x."""
    shape = tuple(x.shape[axis] for axis in order)
    moved = (0,) if order[:1] != (0,) else ()
    name, offset = at.along(x, *moved)
    axes = tuple(axis + offset for axis in order)
    return at.emit(Permute((0,) * offset + axes), name, shape=shape)


def slice_tensor(at: At) -> Value:
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    size = x.shape[dim]
    start = 0 if at.optional("start") is None else at.integer("start")
    stop = size if at.optional("end") is None else at.integer("end")
    if 0 in at.shape:
        return Known(at.name_of("empty"), torch.empty(at.shape))
    return part(at, x, dim, *slice(start, stop, at.integer("step")).indices(size))


def part(at: At, x: Activation, dim: int, start: int, stop: int, step: int = 1) -> Activation:
    """Elements start, start + step, ... before stop along an ATen axis."""
    count = len(range(start, stop, step))
    if count == x.shape[dim]:
        return x
    if count == 0:
        raise at.unsupported("it takes an empty part", "remove it from the model")
    name, offset = at.along(x, dim)
    shape = (*x.shape[:dim], count, *x.shape[dim + 1 :])
    return at.emit(Slice(dim + offset, start, stop, step), name, shape=shape)


def select(at: At) -> Value:
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    return _select(at, x, dim, at.integer("index"), at.shape)


def _select(at: At, x: Activation, dim: int, index: int, shape: Shape) -> Activation:
    size = x.shape[dim]
    if not -size <= index < size:
        raise bad_program(f"{at.call.target}: index {index} of axis {dim} with {size}", at.call.loc)
    return at.reshape(part(at, x, dim, index % size, index % size + 1), shape)


def split(at: At) -> Pieces:
    """Pieces of one size, the last one may be smaller."""
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    return _pieces(at, x, dim, at.integer("split_size"))


def chunk(at: At) -> Pieces:
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    return _pieces(at, x, dim, -(-x.shape[dim] // max(1, at.integer("chunks"))))


def _pieces(at: At, x: Activation, dim: int, size: int) -> Pieces:
    length = x.shape[dim]
    if size < 1:
        raise at.unsupported(f"its pieces have size {size}")
    bounds = [(start, min(start + size, length)) for start in range(0, length, size)]
    return tuple(
        part(at, x, dim, *pair) if is_read else None for pair, is_read in zip(bounds, at.is_read, strict=False)
    )


def split_with_sizes(at: At) -> Pieces:
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    sizes = at.ints("split_sizes", len(at.call.results))
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    if min(sizes) < 1 or ends[-1] != x.shape[dim]:
        raise bad_program(f"{at.call.target}: sizes {list(sizes)} of {x.shape[dim]}", at.call.loc)
    bounds = zip(sizes, ends, at.is_read, strict=True)
    return tuple(part(at, x, dim, end - size, end) if is_read else None for size, end, is_read in bounds)


def unbind(at: At) -> Pieces:
    x = _first(at)
    dim = at.dim("dim", len(x.shape))
    rest = (*x.shape[:dim], *x.shape[dim + 1 :])
    return tuple(_select(at, x, dim, i, rest) if is_read else None for i, is_read in enumerate(at.is_read))


def expand(at: At) -> Value:
    return expanded(at, at.activation(next(iter(at.call.arguments))))


def expanded(at: At, x: Activation) -> Activation:
    """x broadcast to the call's shape."""
    if x.shape == at.shape:
        return x
    graph_shape = at.shape if at.shape[:1] == (1,) else (1, *at.shape)
    return at.emit(Expand(graph_shape), at.aligned(x, len(at.shape)))


def repeat(at: At) -> Value:
    """Copies one after the other; axes may come in front."""
    x, counts = _first(at), at.ints("repeats", len(at.shape))
    if 0 in at.shape:
        return Known(at.name_of("empty"), torch.empty(at.shape))
    x = at.reshape(x, (1,) * (len(counts) - len(x.shape)) + x.shape)
    for dim, count in enumerate(counts):
        if count == 1:
            continue
        if x.shape[dim] == 1:
            name, offset = at.along(x, dim)
            shape = (*x.shape[:dim], count, *x.shape[dim + 1 :])
            x = at.emit(Expand((1,) * offset + shape), name, shape=shape)
        elif count > MOST_ITEMS:
            raise at.unsupported(f"it makes {count} copies", f"at most {MOST_ITEMS} are possible")
        else:
            x = join(at, (x,) * count, dim)
    return x


def copy(at: At) -> Value:
    """The shape of the first argument, the elements of the second."""
    return expanded(at, at.activation("src"))


def pad(at: At) -> Value:
    mode = at.optional("mode")
    if mode not in [known.value for known in PadMode]:
        raise at.unsupported(f"its mode is {mode}", "use constant, reflect, replicate or circular padding")
    value = 0.0 if at.optional("value") is None else at.number("value")
    return _pad(at, PadMode(mode), value)


def pad_constant(at: At) -> Value:
    return _pad(at, PadMode.CONSTANT, at.number("value"))


def _pad(at: At, mode: PadMode, value: float) -> Value:
    """ATen counts axes from the last one backwards."""
    x = _first(at)
    sizes = at.optional("pad")
    flat = [size for size in sizes if isinstance(size, int)] if isinstance(sizes, tuple) else []
    pairs = list(zip(flat[::2], flat[1::2], strict=False))[::-1]
    pads = ((0, 0),) * (len(x.shape) - len(pairs)) + tuple(pairs)
    if not any(any(pair) for pair in pads):
        return x
    if mode is not PadMode.CONSTANT and len(x.shape) == 3 and x.shape[0] == 1:  # rows are images of height 1
        image = at.under(x, (1, x.shape[1], 1, x.shape[2]))
        padded = at.emit(Pad((pads[1], (0, 0), pads[2]), mode), image, shape=(1, at.shape[1], 1, at.shape[2]))
        return at.reshape(padded, at.shape)
    name, offset = at.along(x, *(dim for dim, pair in enumerate(pads) if any(pair)))
    return at.emit(Pad(pads if offset else pads[1:], mode, value), name)


def roll(at: At) -> Value:
    x = _first(at)
    dims = at.optional("dims")
    if not isinstance(dims, tuple) or not dims:
        raise at.unsupported("it rolls all axes as one", "name the axes to roll")
    axes = at.dims("dims", len(x.shape))
    name, offset = at.along(x, *axes)
    return at.emit(Roll(at.ints("shifts", len(axes)), tuple(axis + offset for axis in axes)), name)


def flip(at: At) -> Value:
    x = _first(at)
    axes = at.dims("dims", len(x.shape))
    name, offset = at.along(x, *axes)
    return at.emit(Flip(tuple(axis + offset for axis in axes)), name)


def pixel_shuffle(at: At) -> Value:
    """Blocks of channels become blocks of pixels."""
    x, factor = _image(at), at.integer("upscale_factor")
    channels, height, width = at.shape[1], x.shape[2], x.shape[3]
    blocks = at.reshape(x, (1, channels, factor, factor, height, width))
    return at.reshape(permuted(at, blocks, (0, 1, 4, 2, 5, 3)), at.shape)


def pixel_unshuffle(at: At) -> Value:
    x, factor = _image(at), at.integer("downscale_factor")
    channels, height, width = x.shape[1], at.shape[2], at.shape[3]
    blocks = at.reshape(x, (1, channels, height, factor, width, factor))
    return at.reshape(permuted(at, blocks, (0, 1, 3, 5, 2, 4)), at.shape)


def channel_shuffle(at: At) -> Value:
    x, groups = _image(at), at.integer("groups")
    _, channels, height, width = x.shape
    blocks = at.reshape(x, (1, groups, channels // max(groups, 1), height, width))
    return at.reshape(permuted(at, blocks, (0, 2, 1, 3, 4)), at.shape)


def _image(at: At) -> Activation:
    x = _first(at)
    if len(x.shape) != 4 or x.shape[0] != 1:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, height, width]")
    return x


SHAPE: Mapping[str, Rule] = {
    "aten.view.default": reshape,
    "aten._unsafe_view.default": reshape,
    "aten.reshape.default": reshape,
    "aten.flatten.using_ints": reshape,
    "aten.unflatten.int": reshape,
    "aten.squeeze.default": reshape,
    "aten.squeeze.dim": reshape,
    "aten.squeeze.dims": reshape,
    "aten.unsqueeze.default": reshape,
    "aten.cat.default": cat,
    "aten.stack.default": stack,
    "aten.permute.default": permute,
    "aten.transpose.int": transpose,
    "aten.swapaxes.default": transpose,
    "aten.t.default": transpose_matrix,
    "aten.slice.Tensor": slice_tensor,
    "aten.select.int": select,
    "aten.split.Tensor": split,
    "aten.split_with_sizes.default": split_with_sizes,
    "aten.chunk.default": chunk,
    "aten.unbind.int": unbind,
    "aten.expand.default": expand,
    "aten.expand_as.default": expand,
    "aten.copy.default": copy,
    "aten.pad.default": pad,
    "aten.constant_pad_nd.default": pad_constant,
    "aten.roll.default": roll,
    "aten.flip.default": flip,
    "aten.repeat.default": repeat,
    "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.pixel_unshuffle.default": pixel_unshuffle,
    "aten.channel_shuffle.default": channel_shuffle,
}
