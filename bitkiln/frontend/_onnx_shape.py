"""ONNX's operations that move elements, and those that compute shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ._onnx_at import At, Entry, Fixed, Value, same_codes
from ._onnx_file import bad_onnx

Ints = tuple[int, ...]


def reshape(at: At) -> Value:
    """0 keeps a size (unless allowzero), -1 is what is left."""
    x, wanted = at.raw(0), at.integers(1)
    if at.flag("allowzero") and 0 in wanted:
        raise at.unsupported("it makes a tensor without elements", "remove it from the model")
    if any(size == 0 and i >= len(x.shape) for i, size in enumerate(wanted)):
        raise bad_onnx(f"Reshape of {list(x.shape)} keeps a size that is not there", at.node.loc)
    sizes = tuple(x.shape[i] if size == 0 else size for i, size in enumerate(wanted))
    return reshaped(at, x, sizes)


def reshaped(at: At, x: Value, sizes: Ints) -> Value:
    return same_codes(at, x, at.emit("reshape.default", x, sizes))


def flatten(at: At) -> Value:
    x = at.raw(0)
    axis = at.integer("axis", 1)
    if not -len(x.shape) <= axis <= len(x.shape):
        raise bad_onnx(f"Flatten: there is no axis {axis} of {len(x.shape)}", at.node.loc)
    axis += len(x.shape) if axis < 0 else 0
    return reshaped(at, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def squeeze(at: At) -> Value:
    x = at.raw(0)
    axes = _axes(at, 13, len(x.shape))
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    if any(x.shape[axis] != 1 for axis in axes):
        raise bad_onnx(f"Squeeze of {list(x.shape)}: not all axes {list(axes)} have size 1", at.node.loc)
    return reshaped(at, x, tuple(size for axis, size in enumerate(x.shape) if axis not in axes))


def unsqueeze(at: At) -> Value:
    x = at.raw(0)
    given = at.ints("axes") if at.version < 13 else at.integers(1)
    rank = len(x.shape) + len(given or ())
    axes = [at.axis(axis, rank) for axis in given or ()]
    if len(set(axes)) != len(axes):
        raise bad_onnx(f"Unsqueeze: the axes {axes} are not different", at.node.loc)
    sizes = iter(x.shape)
    return reshaped(at, x, tuple(1 if axis in axes else next(sizes) for axis in range(rank)))


def _axes(at: At, as_input: int, rank: int) -> Ints | None:
    """Axes, which are an attribute before the opset `as_input`; None if absent."""
    if at.version < as_input:
        given = at.ints("axes")
    else:
        given = at.integers(1) if at.has(1) else None
    return None if given is None else tuple(at.axis(axis, rank) for axis in given)


def transpose(at: At) -> Value:
    x = at.raw(0)
    order = at.ints("perm") or tuple(reversed(range(len(x.shape))))
    if sorted(order) != list(range(len(x.shape))):
        raise bad_onnx(f"Transpose: {list(order)} is no order of {len(x.shape)} axes", at.node.loc)
    return same_codes(at, x, at.emit("permute.default", x, order))


def concat(at: At) -> Value:
    parts = at.values()
    axis = at.axis(at.integer("axis"), len(parts[0].shape) if parts else 0)
    if len(parts) == 1:
        return parts[0]
    return at.emit("cat.default", parts, axis)


def slice_(at: At) -> Value:
    """Attributes before opset 10, then inputs. Steps may be negative."""
    x = at.raw(0)
    if at.version < 10:
        starts, ends, axes, steps = at.ints("starts") or (), at.ints("ends") or (), at.ints("axes"), None
    else:
        starts, ends = at.integers(1), at.integers(2)
        axes = at.integers(3) if at.has(3) else None
        steps = at.integers(4) if at.has(4) else None
    axes = tuple(range(len(starts))) if axes is None else tuple(at.axis(axis, len(x.shape)) for axis in axes)
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps or len(set(axes)) != len(axes):
        raise bad_onnx("Slice: starts, ends, axes and steps do not fit together", at.node.loc)
    result = x
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if axis >= len(x.shape):
            raise bad_onnx(f"Slice: there is no axis {axis} of {len(x.shape)}", at.node.loc)
        result = _sliced(at, result, axis, range(x.shape[axis])[start:end:step])
    return same_codes(at, x, result)


def _sliced(at: At, x: Value, axis: int, places: range) -> Value:
    if len(places) == 0:
        if isinstance(x, Fixed):
            return Fixed(x.path, x.data.narrow(axis, 0, 0))
        raise at.unsupported("it takes an empty part", "remove it from the model")
    if places.step < 0:
        size = x.shape[axis]
        places = range(size - 1 - places.start, size - 1 - places.start + len(places) * -places.step, -places.step)
        x = at.emit("flip.default", x, (axis,))
    return at.emit("slice.Tensor", x, axis, places.start, places[-1] + 1, places.step)


def split(at: At) -> tuple[Value, ...]:
    """Sizes are an attribute before opset 13, then an input; without them the parts are equal."""
    x = at.raw(0)
    axis = at.axis(at.integer("axis", 0), len(x.shape))
    sizes = at.ints("split") if at.version < 13 else at.integers(1) if at.has(1) else None
    if sizes is None:
        count = at.integer("num_outputs", len(at.node.outputs)) if at.version >= 18 else len(at.node.outputs)
        sizes = _equal_sizes(at, x.shape[axis], count)
    if min(sizes, default=0) < 1 or sum(sizes) != x.shape[axis] or len(sizes) != len(at.node.outputs):
        raise at.unsupported(f"it splits {x.shape[axis]} into {str(list(sizes))[:80]}", "make all parts non-empty")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = (at.emit("slice.Tensor", x, axis, start, start + size) for start, size in zip(starts, sizes, strict=True))
    return tuple(same_codes(at, x, part) for part in parts)


def _equal_sizes(at: At, length: int, count: int) -> Ints:
    """Opset 18 allows a smaller last part."""
    if count < 1 or count > length or (length % count and at.version < 18):
        raise bad_onnx(f"Split: {length} does not divide into {count} parts", at.node.loc)
    size = -(-length // count)
    return tuple(min(size, length - i * size) for i in range(count))


def expand(at: At) -> Value:
    """Both shapes broadcast: the result may be larger than asked for."""
    x, wanted = at.value(0), at.integers(1)
    rank = max(len(x.shape), len(wanted))
    ours, theirs = ((1,) * (rank - len(shape)) + tuple(shape) for shape in (x.shape, wanted))
    if any(a != b and 1 not in (a, b) for a, b in zip(ours, theirs, strict=True)):
        raise bad_onnx(f"Expand: {list(x.shape)} and {str(list(wanted))[:80]} do not broadcast", at.node.loc)
    return at.emit("expand.default", x, tuple(map(max, zip(ours, theirs, strict=True))))


def tile(at: At) -> Value:
    x, repeats = at.value(0), at.integers(1)
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        raise bad_onnx(f"Tile: {str(list(repeats))[:80]} repeats of {list(x.shape)}", at.node.loc)
    for axis, count in enumerate(repeats):
        if count > 4096:
            raise at.unsupported(f"it repeats a tensor {count} times", "expand an axis of size 1 instead")
        x = at.emit("cat.default", (x,) * count, axis) if count > 1 else x
    return x


def pad(at: At) -> Value:
    """Sizes are an attribute before opset 11, then an input; they name the axes since opset 18."""
    x = at.value(0)
    mode = at.text("mode", "constant")
    if at.version < 11:
        sizes, value, axes = at.ints("pads") or (), at.number("value", 0.0), None
    else:
        sizes, value = at.integers(1), at.scalar(2) if at.has(2) else 0.0
        axes = at.integers(3) if at.has(3) else None
    places = range(len(x.shape)) if axes is None else [at.axis(axis, len(x.shape)) for axis in axes]
    if len(sizes) != 2 * len(places):
        raise bad_onnx(f"Pad: {len(sizes)} numbers for {len(places)} axes", at.node.loc)
    pairs = [(0, 0)] * len(x.shape)
    for i, axis in enumerate(places):
        pairs[axis] = (sizes[i], sizes[i + len(places)])
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in modes:
        raise at.unsupported(f"its mode is {mode[:40]!r}", "use constant, reflect, edge or wrap")
    while pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    if not pairs:
        return x
    return at.emit(
        "pad.default",
        x,
        tuple(size for pair in reversed(pairs) for size in pair),
        modes[mode],
        value if mode == "constant" else None,
    )


def gather(at: At) -> Value:
    """Places along one axis; a single place removes the axis."""
    x, places = at.value(0), at.tensor(1)
    axis = at.axis(at.integer("axis", 0), len(x.shape))
    if places.dtype not in (torch.int32, torch.int64):
        raise bad_onnx(f"Gather: its indices are {places.dtype}", at.node.loc)
    size = x.shape[axis]
    if places.numel() and not (-size <= int(places.min()) and int(places.max()) < size):
        raise bad_onnx(f"Gather: an index is outside an axis of {size}", at.node.loc)
    places = torch.where(places < 0, places + size, places).to(torch.int64)
    if places.dim() == 0:
        return at.emit("select.int", x, axis, int(places))
    if isinstance(x, Fixed):
        at.spend(x.data.numel() // max(1, size) * places.numel())
        data = x.data.index_select(axis, places.reshape(-1))
        return Fixed(x.path, data.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
    taken = at.emit("index_select.default", x, axis, at.fixed(places.reshape(-1), "indices"))
    if places.dim() == 1:
        return taken
    return at.emit("reshape.default", taken, (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


def shape(at: At) -> Value:
    x = at.raw(0)
    start, end = at.integer("start", 0), at.integer("end", len(x.shape))
    return at.fixed(torch.tensor(x.shape[slice(start, end)], dtype=torch.int64), "shape")


def size(at: At) -> Value:
    return at.fixed(torch.tensor(math.prod(at.raw(0).shape)), "size")


def constant(at: At) -> Value:
    """One of several attributes says the value."""
    given = [name for name in sorted(at.node.attributes) if name.startswith("value")]
    if len(given) != 1:
        raise at.unsupported("it has no dense value", "store it as a dense tensor")
    found = at.node.attributes[given[0]]
    at.read_attributes.add(given[0])
    if isinstance(found, Tensor):
        data = found
    elif isinstance(found, str) or (isinstance(found, tuple) and any(isinstance(item, str) for item in found)):
        raise at.unsupported("it is text", "remove it from the model")
    else:
        data = torch.tensor(found, dtype=torch.float32 if given[0].startswith("value_float") else torch.int64)
    return Fixed(at.node.outputs[0], data)


def constant_of_shape(at: At) -> Value:
    sizes = at.integers(0)
    value = torch.zeros(1)
    if at.has_attribute("value"):
        at.read_attributes.add("value")
        found = at.node.attributes["value"]
        if not isinstance(found, Tensor) or found.numel() != 1:
            raise bad_onnx("ConstantOfShape: its value must be one number", at.node.loc)
        value = found.reshape(1)
    if min(sizes, default=0) < 0 or len(sizes) > 16:
        raise bad_onnx(f"ConstantOfShape of {str(list(sizes))[:80]}", at.node.loc)
    at.claim(math.prod(sizes))
    return Fixed(at.node.outputs[0], value.reshape(()).expand(sizes))


def range_(at: At) -> Value:
    start, limit, delta = (at.tensor(i) for i in range(3))
    first, last, step = (
        float(data.reshape(-1)[0]) if data.numel() == 1 else math.nan for data in (start, limit, delta)
    )
    if not math.isfinite(first + last + step) or step == 0:
        raise bad_onnx(f"Range from {first} to {last} by {step}", at.node.loc)
    count = max(0, math.ceil((last - first) / step))
    at.spend(count)
    places = torch.arange(count, dtype=start.dtype)
    return at.fixed(start.reshape(()) + places * delta.reshape(()))


def trilu(at: At) -> Value:
    x = at.value(0)
    offset = int(at.scalar(1)) if at.has(1) else 0
    return at.emit("triu.default" if at.flag("upper", True) else "tril.default", x, max(-(2**31), min(2**31, offset)))


def depth_to_space(at: At) -> Value:
    """Blocks of channels become blocks of pixels; DCR has the block's axes before the channels, CRD behind."""
    x, factor = _image(at), at.integer("blocksize")
    mode = at.text("mode", "DCR")
    if factor < 1 or x.shape[1] % (factor * factor) or mode not in ("DCR", "CRD"):
        raise bad_onnx(f"DepthToSpace of {list(x.shape)} with blocks of {factor}, mode {mode[:40]!r}", at.node.loc)
    if mode == "CRD":
        return at.emit("pixel_shuffle.default", x, factor)
    batch, channels, height, width = x.shape
    left = channels // (factor * factor)
    blocks = at.emit("reshape.default", x, (batch, factor, factor, left, height, width))
    moved = at.emit("permute.default", blocks, (0, 3, 4, 1, 5, 2))
    return at.emit("reshape.default", moved, (batch, left, height * factor, width * factor))


def space_to_depth(at: At) -> Value:
    x, factor = _image(at), at.integer("blocksize")
    batch, channels, height, width = x.shape
    if factor < 1 or height % factor or width % factor or at.text("mode", "DCR") != "DCR":
        raise bad_onnx(f"SpaceToDepth of {list(x.shape)} with blocks of {factor}", at.node.loc)
    blocks = at.emit("reshape.default", x, (batch, channels, height // factor, factor, width // factor, factor))
    moved = at.emit("permute.default", blocks, (0, 3, 5, 1, 2, 4))
    return at.emit("reshape.default", moved, (batch, channels * factor**2, height // factor, width // factor))


def _image(at: At) -> Value:
    x = at.value(0)
    if len(x.shape) != 4:
        raise bad_onnx(f"{at.node.op} needs 4 axes, not {list(x.shape)}", at.node.loc)
    return x


_TYPE_VERSIONS = (21, 23, 24, 25)  # these opsets only added element types

SHAPE: Mapping[str, Entry] = {
    "Reshape": Entry(reshape, (5, 13, 14, 19, *_TYPE_VERSIONS)),
    "Flatten": Entry(flatten, (1, 9, 11, 13, *_TYPE_VERSIONS)),
    "Squeeze": Entry(squeeze, (1, 11, 13, *_TYPE_VERSIONS)),
    "Unsqueeze": Entry(unsqueeze, (1, 11, 13, *_TYPE_VERSIONS)),
    "Transpose": Entry(transpose, (1, 13, *_TYPE_VERSIONS)),
    "Concat": Entry(concat, (4, 11, 13)),
    "Slice": Entry(slice_, (1, 10, 11, 13)),
    "Split": Entry(split, (2, 11, 13, 18)),
    "Expand": Entry(expand, (8, 13)),
    "Tile": Entry(tile, (6, 13)),
    "Pad": Entry(pad, (2, 11, 13, 18, 19, *_TYPE_VERSIONS)),
    "Gather": Entry(gather, (1, 11, 13)),
    "Shape": Entry(shape, (1, 13, 15, 19, *_TYPE_VERSIONS)),
    "Size": Entry(size, (1, 13, 19, *_TYPE_VERSIONS)),
    "Constant": Entry(constant, (1, 9, 11, 12, 13, 19, *_TYPE_VERSIONS)),
    "ConstantOfShape": Entry(constant_of_shape, (9, 20, *_TYPE_VERSIONS)),
    "Range": Entry(range_, (11,)),
    "Trilu": Entry(trilu, (14,)),
    "DepthToSpace": Entry(depth_to_space, (1, 11, 13)),
    "SpaceToDepth": Entry(space_to_depth, (1, 13)),
}
