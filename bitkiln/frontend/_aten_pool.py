"""ATen's pooling and interpolation."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir.ops import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, ReduceMax, Resize, ResizeMode

from ._aten_shape import join, part
from ._lower import MOST_ITEMS, Activation, At, Rule, Value

Pair = tuple[int, int]


def max_pool2d(at: At) -> Value:
    kernel, stride = _window(at)
    return _pool(at, MaxPool2d(kernel, stride, at.pair("padding"), at.pair("dilation"), at.flag("ceil_mode")))


def max_pool2d_with_indices(at: At) -> tuple[Value, ...]:
    """Values only, no indices."""
    return (max_pool2d(at),)


def avg_pool2d(at: At) -> Value:
    kernel, stride = _window(at)
    divisor = None if at.optional("divisor_override") is None else at.integer("divisor_override")
    op = AvgPool2d(kernel, stride, at.pair("padding"), at.flag("ceil_mode"), at.flag("count_include_pad"), divisor)
    return _pool(at, op)


def _pool(at: At, op: MaxPool2d | AvgPool2d) -> Value:
    """Channels do not mix, so images that joined the batch may be channels meanwhile."""
    x = at.activation("self")
    if x.shape[0] == 1 or len(x.shape) != 4:
        return at.emit(op, x.name)
    (items, channels, height, width), (_, _, rows, columns) = x.shape, at.shape
    flat = at.under(x, (1, items * channels, height, width))
    return at.reshape(at.emit(op, flat, shape=(1, items * channels, rows, columns)), at.shape)


def _window(at: At) -> tuple[Pair, Pair]:
    """Kernel and stride; no stride means the kernel."""
    kernel = at.pair("kernel_size")
    return kernel, at.pair("stride") if at.optional("stride") else kernel


def max_pool1d(at: At) -> Value:
    (kernel,), (padding,), (dilation,) = (at.ints(name, 1) for name in ("kernel_size", "padding", "dilation"))
    stride = at.integer("stride") if at.optional("stride") else kernel
    op = MaxPool2d((1, kernel), (1, stride), (0, padding), (1, dilation), at.flag("ceil_mode"))
    return _as_image(at, op)


def avg_pool1d(at: At) -> Value:
    (kernel,), (padding,) = (at.ints(name, 1) for name in ("kernel_size", "padding"))
    stride = at.integer("stride") if at.optional("stride") else kernel
    op = AvgPool2d((1, kernel), (1, stride), (0, padding), at.flag("ceil_mode"), at.flag("count_include_pad"))
    return _as_image(at, op)


def adaptive_avg_pool1d(at: At) -> Value:
    return _as_image(at, AdaptiveAvgPool2d((1, at.integer("output_size"))))


def _as_image(at: At, op: MaxPool2d | AvgPool2d | AdaptiveAvgPool2d) -> Value:
    """Pool [batch, channels, length] as images of height 1."""
    x = at.activation("self")
    if len(x.shape) != 3 or x.shape[0] != 1:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, length]")
    image = at.under(x, (1, x.shape[1], 1, x.shape[2]))
    result = at.emit(op, image, shape=(1, at.shape[1], 1, at.shape[2]))
    return at.reshape(result, at.shape)


def adaptive_avg_pool2d(at: At) -> Value:
    x = at.activation("self")
    size = _output_size(at, x)
    kernel = _cells(x.shape, size)
    if kernel is None:
        return at.emit(AdaptiveAvgPool2d(size), x.name)
    return x if kernel == (1, 1) else at.emit(AvgPool2d(kernel, kernel), x.name)


def adaptive_max_pool2d(at: At) -> tuple[Value, ...]:
    x = at.activation("self")
    size = _output_size(at, x)
    kernel = _cells(x.shape, size)
    if kernel is None:
        return (_largest_of_cells(at, _largest_of_cells(at, x, 2, size[0]), 3, size[1]),)
    return (x if kernel == (1, 1) else at.emit(MaxPool2d(kernel, kernel), x.name),)


def _largest_of_cells(at: At, x: Activation, dim: int, count: int) -> Activation:
    """The largest element of each of `count` cells along an axis; cells of different sizes may overlap."""
    length = x.shape[dim]
    if not 0 < count <= MOST_ITEMS:
        raise at.unsupported(f"it makes {count} cells of an axis", f"1 to {MOST_ITEMS} are possible")
    cells = []
    for i in range(count):
        cell = part(at, x, dim, i * length // count, -(-(i + 1) * length // count))
        name, offset = at.along(cell, dim)
        shape = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
        cells.append(at.emit(ReduceMax((dim + offset,), True), name, shape=shape))
    return join(at, tuple(cells), dim)


def max_pool3d(at: At) -> Value:
    kernel, stride, padding = _volume_window(at)
    dilation, ceil_mode = at.ints("dilation", 3), at.flag("ceil_mode")

    def pool(axes: slice) -> MaxPool2d:
        return MaxPool2d(
            _window_of(kernel[axes]),
            _window_of(stride[axes]),
            _window_of(padding[axes], 0),
            _window_of(dilation[axes]),
            ceil_mode,
        )

    return _in_turn(at, pool(slice(1, 3)), pool(slice(0, 1)))


def max_pool3d_with_indices(at: At) -> tuple[Value, ...]:
    """Values only, no indices."""
    return (max_pool3d(at),)


def avg_pool3d(at: At) -> Value:
    """A mean of means, as long as all windows are of one size."""
    kernel, stride, padding = _volume_window(at)
    has_partial = any(padding) and not at.flag("count_include_pad")
    if at.flag("ceil_mode") or has_partial or at.optional("divisor_override") is not None:
        raise at.unsupported("its windows are not all of one size", "use whole windows, and count the padding")

    def pool(axes: slice) -> AvgPool2d:
        return AvgPool2d(_window_of(kernel[axes]), _window_of(stride[axes]), _window_of(padding[axes], 0))

    return _in_turn(at, pool(slice(1, 3)), pool(slice(0, 1)))


def _volume_window(at: At) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, stride and padding along depth, height and width."""
    kernel = at.ints("kernel_size", 3)
    return kernel, at.ints("stride", 3) if at.optional("stride") else kernel, at.ints("padding", 3)


def _window_of(sizes: tuple[int, ...], other: int = 1) -> Pair:
    """Sizes along one or two axes; along the missing one nothing is pooled."""
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (sizes[0], other)


def _in_turn(at: At, planes: MaxPool2d | AvgPool2d, depth: MaxPool2d | AvgPool2d) -> Value:
    """Pool height and width of every slice, then the depth."""
    x = at.activation("self")
    if len(x.shape) != 5 or x.shape[0] != 1:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, depth, height, width]")
    (_, channels, slices, height, width), (_, _, out, rows, columns) = x.shape, at.shape
    x = at.reshape(x, (1, channels * slices, height, width))
    if planes.kernel != (1, 1) or planes.stride != (1, 1):
        x = at.emit(planes, x.name, shape=(1, channels * slices, rows, columns))
    x = at.reshape(x, (1, channels, slices, rows * columns))
    if depth.kernel != (1, 1) or depth.stride != (1, 1):
        x = at.emit(depth, x.name, shape=(1, channels, out, rows * columns))
    return at.reshape(x, at.shape)


def _output_size(at: At, x: Activation) -> Pair:
    if len(x.shape) != 4:
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, height, width]")
    return at.pair("output_size")


def _cells(shape: tuple[int, ...], size: Pair) -> Pair | None:
    """Kernel (and stride) of the pooling that cuts the image into `size` equal cells; None if that is impossible."""
    height, width = shape[-2:]
    if min(size) < 1 or height % size[0] or width % size[1]:
        return None
    return height // size[0], width // size[1]


def upsample_nearest(at: At) -> Value:
    return _resize(at, ResizeMode.NEAREST, False)


def upsample_bilinear(at: At) -> Value:
    return _resize(at, ResizeMode.BILINEAR, at.flag("align_corners"))


def upsample_bicubic(at: At) -> Value:
    return _resize(at, ResizeMode.BICUBIC, at.flag("align_corners"))


def _resize(at: At, mode: ResizeMode, align_corners: bool) -> Value:
    """Factors are kept only where they say something else than the sizes do."""
    x = at.activation("input")
    factors = at.optional("scale_factors")
    scales = None
    if isinstance(factors, tuple) and len(factors) == 2 and len(x.shape) == 4:
        vertical, horizontal = (float(factor) for factor in factors if isinstance(factor, int | float))
        if (x.shape[2] * vertical, x.shape[3] * horizontal) != at.shape[2:]:
            scales = vertical, horizontal
    height, width = at.shape[-2:]
    return at.emit(Resize((height, width), mode, align_corners, scales), x.name)


POOL: Mapping[str, Rule] = {
    "aten.max_pool1d.default": max_pool1d,
    "aten.max_pool2d.default": max_pool2d,
    "aten.max_pool2d_with_indices.default": max_pool2d_with_indices,
    "aten.avg_pool1d.default": avg_pool1d,
    "aten.avg_pool2d.default": avg_pool2d,
    "aten.adaptive_avg_pool1d.default": adaptive_avg_pool1d,
    "aten.adaptive_avg_pool2d.default": adaptive_avg_pool2d,
    "aten._adaptive_avg_pool2d.default": adaptive_avg_pool2d,
    "aten.adaptive_max_pool2d.default": adaptive_max_pool2d,
    "aten.max_pool3d.default": max_pool3d,
    "aten.max_pool3d_with_indices.default": max_pool3d_with_indices,
    "aten.avg_pool3d.default": avg_pool3d,
    "aten.upsample_nearest2d.vec": upsample_nearest,
    "aten.upsample_bilinear2d.vec": upsample_bilinear,
    "aten.upsample_bicubic2d.vec": upsample_bicubic,
}
