"""ATen's pooling and interpolation."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir.ops import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, Resize, ResizeMode

from ._lower import Activation, At, Rule, Value

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
        raise at.unsupported(
            f"it pools {list(x.shape[-2:])} into {list(size)}, which does not divide",
            "choose an output size that divides the image",
        )
    return (x if kernel == (1, 1) else at.emit(MaxPool2d(kernel, kernel), x.name),)


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
    "aten.upsample_nearest2d.vec": upsample_nearest,
    "aten.upsample_bilinear2d.vec": upsample_bilinear,
    "aten.upsample_bicubic2d.vec": upsample_bicubic,
}
