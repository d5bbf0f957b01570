"""ONNX's pooling and interpolation.

torch pads both sides alike and by at most half a kernel; what ONNX has beyond that is a border of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ._onnx_at import At, Entry, Fixed, Value, same_codes
from ._onnx_file import bad_onnx
from ._onnx_window import Window, kernel_shape, read_window, torch_pads

Ints = tuple[int, ...]


def max_pool(at: At) -> Value:
    """The largest code stands for the largest number."""
    x, rank = _image(at)
    return same_codes(at, x, _max_pool(at, x, rank))


def _max_pool(at: At, x: Value, rank: int) -> Value:
    window = read_window(at, kernel_shape(at, rank), x.shape[2:])
    at.integer("storage_order", 0)  # of the indices, which nothing reads
    ceil_mode = at.flag("ceil_mode")
    fitted = _fitted(at, x, window, ceil_mode)
    if fitted is None:
        x = at.emit("pad.default", x, torch_pads(*_border(x, window, ceil_mode)), "constant", -math.inf)
        fitted = _Fitted(_unpadded(window), False)
    plain = fitted.window
    return at.emit(
        f"max_pool{rank}d.default", x, plain.kernel, plain.stride, plain.begins, plain.dilation, fitted.ceil_mode
    )


def average_pool(at: At) -> Value:
    x, rank = _image(at)
    window = read_window(at, kernel_shape(at, rank), x.shape[2:])
    if any(step != 1 for step in window.dilation):
        raise at.unsupported("its windows have gaps (dilations)", "use dilations of 1")
    ceil_mode, include = at.flag("ceil_mode"), at.flag("count_include_pad")
    fitted = _fitted(at, x, window, ceil_mode)
    if fitted is not None and (window.is_symmetric or not include):
        plain = fitted.window
        arguments = (plain.kernel, plain.stride, plain.begins, fitted.ceil_mode, include)
        return at.emit(f"avg_pool{rank}d.default", x, *arguments)
    return _weighed_average(at, x, window, ceil_mode, include)


def _weighed_average(at: At, x: Value, window: Window, ceil_mode: bool, include: bool) -> Value:
    """Average over a border of zeros, then correct the number of elements of the windows that it does not count in."""
    rank = len(window.kernel)
    begins, ends = _border(x, window, ceil_mode)
    counted = torch.ones(1, 1, *x.shape[2:])
    if include:
        counted = torch.nn.functional.pad(counted, torch_pads(window.begins, window.ends), value=1.0)
        begins_left, ends_left = (0,) * rank, tuple(e - own for e, own in zip(ends, window.ends, strict=True))
    else:
        begins_left, ends_left = begins, ends
    counted = torch.nn.functional.pad(counted, torch_pads(begins_left, ends_left))
    at.spend(counted.numel(), counted.numel() * math.prod(window.kernel))
    plain = (window.kernel, window.stride, (0,) * rank, False, True)
    padded = at.emit("pad.default", x, torch_pads(begins, ends))
    mean = at.emit(f"avg_pool{rank}d.default", padded, *plain)
    share = at.emit(f"avg_pool{rank}d.default", at.fixed(counted, "counted"), *plain)
    assert isinstance(share, Fixed)
    return at.emit("mul.Tensor", mean, at.fixed(1 / share.data, "share"))


@dataclass(frozen=True)
class _Fitted:
    """A window that torch's pooling has."""

    window: Window
    ceil_mode: bool


def _fitted(at: At, x: Value, window: Window, ceil_mode: bool) -> _Fitted | None:
    """The window with padding that torch has: on both sides alike, or at the front only with windows that may reach
    over the end where that gives as many of them."""
    sizes = _counts(x, window, ceil_mode)
    if min(sizes) < 1:
        raise bad_onnx(f"{at.node.op}: the kernel is larger than the padded image {list(x.shape)}", at.node.loc)
    if any(pad > size // 2 for pad, size in zip(window.begins, window.kernel, strict=True)):
        return None
    if window.is_symmetric:
        return _Fitted(window, ceil_mode)
    front = Window(window.kernel, window.stride, window.dilation, window.begins, window.begins)
    for ceils in (False, True):
        is_short = all(begin <= end for begin, end in zip(window.begins, window.ends, strict=True))
        if is_short and _counts(x, front, ceils) == sizes:
            return _Fitted(front, ceils)
    return None


def _counts(x: Value, window: Window, ceil_mode: bool) -> Ints:
    """Windows along each axis. With `ceil_mode` those that begin behind the image and its front padding are left out,
    as in torch, and in ONNX since opset 22 (before, it did not say)."""
    counts = []
    for size, span, stride, begin, end in zip(
        x.shape[2:], window.spans, window.stride, window.begins, window.ends, strict=True
    ):
        room = size + begin + end - span
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= size + begin:
            count -= 1
        counts.append(count)
    return tuple(counts)


def _border(x: Value, window: Window, ceil_mode: bool) -> tuple[Ints, Ints]:
    """Padding as a border, long enough for the windows that `ceil_mode` lets reach over the end."""
    if not ceil_mode:
        return window.begins, window.ends
    ends = []
    for size, span, stride, begin, end in zip(
        x.shape[2:], window.spans, window.stride, window.begins, window.ends, strict=True
    ):
        count = -(-(size + begin + end - span) // stride) + 1
        if (count - 1) * stride >= size + begin:
            count -= 1
        ends.append(max(end, (count - 1) * stride + span - size - begin))
    return window.begins, tuple(ends)


def _unpadded(window: Window) -> Window:
    none = (0,) * len(window.kernel)
    return Window(window.kernel, window.stride, window.dilation, none, none)


def _image(at: At) -> tuple[Value, int]:
    x = at.raw(0) if at.node.op == "MaxPool" else at.value(0)
    rank = len(x.shape) - 2
    if rank not in (1, 2):
        raise at.unsupported(f"its input is {list(x.shape)}", "give it [batch, channels, height, width]")
    return x, rank


def global_average_pool(at: At) -> Value:
    x, rank = _image(at)
    return at.emit("mean.dim", x, tuple(range(2, 2 + rank)), True)


def global_max_pool(at: At) -> Value:
    x, rank = _image(at)
    return at.emit(f"max_pool{rank}d.default", x, x.shape[2:], x.shape[2:])


POOL: Mapping[str, Entry] = {
    "MaxPool": Entry(max_pool, (1, 8, 10, 11, 12, 22)),
    "AveragePool": Entry(average_pool, (7, 10, 11, 19, 22)),
    "GlobalAveragePool": Entry(global_average_pool, (1, 22)),
    "GlobalMaxPool": Entry(global_max_pool, (1, 22)),
}
