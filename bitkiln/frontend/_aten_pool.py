"""ATen's pooling, and means over the whole image, which are pooling too."""

from __future__ import annotations

from collections.abc import Mapping

from bitkiln.ir.ops import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

from ._lower import At, Rule, Value

Pair = tuple[int, int]


def max_pool2d(at: At) -> Value:
    kernel, stride = _window(at)
    op = MaxPool2d(kernel, stride, at.pair("padding"), at.pair("dilation"), at.flag("ceil_mode"))
    return at.emit(op, at.activation("self").name)


def avg_pool2d(at: At) -> Value:
    kernel, stride = _window(at)
    divisor = None if at.optional("divisor_override") is None else at.integer("divisor_override")
    op = AvgPool2d(kernel, stride, at.pair("padding"), at.flag("ceil_mode"), at.flag("count_include_pad"), divisor)
    return at.emit(op, at.activation("self").name)


def _window(at: At) -> tuple[Pair, Pair]:
    """Kernel and stride; no stride means the kernel."""
    kernel = at.pair("kernel_size")
    return kernel, at.pair("stride") if at.optional("stride") else kernel


def adaptive_avg_pool2d(at: At) -> Value:
    x = at.activation("self")
    size = at.pair("output_size")
    kernel = _cells(x.shape, size)
    if kernel is None:
        return at.emit(AdaptiveAvgPool2d(size), x.name)
    return x if kernel == (1, 1) else at.emit(AvgPool2d(kernel, kernel), x.name)


def adaptive_max_pool2d(at: At) -> tuple[Value, ...]:
    x = at.activation("self")
    kernel = _cells(x.shape, at.pair("output_size"))
    if kernel is None:
        raise at.unsupported(
            f"it pools {list(x.shape[-2:])} into {list(at.pair('output_size'))}, which does not divide",
            "choose an output size that divides the image",
        )
    return (x if kernel == (1, 1) else at.emit(MaxPool2d(kernel, kernel), x.name),)


def _cells(shape: tuple[int, ...], size: Pair) -> Pair | None:
    """Kernel (and stride) of the pooling that cuts the image into `size` equal cells; None if that is impossible."""
    height, width = shape[-2:]
    if min(size) < 1 or height % size[0] or width % size[1]:
        return None
    return height // size[0], width // size[1]


def mean(at: At) -> Value:
    x = at.activation("self")
    axes = at.dims("dim", len(x.shape))
    if len(x.shape) != 4 or sorted(axes) != [2, 3] or at.optional("dtype") is not None:
        raise at.unsupported(f"it averages axes {list(axes)} of {list(x.shape)}", "average over height and width")
    kernel = (x.shape[2], x.shape[3])
    pooled = at.emit(AvgPool2d(kernel, kernel), x.name, shape=(*x.shape[:2], 1, 1))
    return at.reshape(pooled, at.shape)


POOL: Mapping[str, Rule] = {
    "aten.max_pool2d.default": max_pool2d,
    "aten.avg_pool2d.default": avg_pool2d,
    "aten.adaptive_avg_pool2d.default": adaptive_avg_pool2d,
    "aten.adaptive_max_pool2d.default": adaptive_max_pool2d,
    "aten.mean.dim": mean,
}
