"""ONNX's matrix products and convolutions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ._onnx_at import At, Entry, Fixed, Live, Value
from ._onnx_attention import attention_parts
from ._onnx_file import bad_onnx
from ._onnx_window import Window, read_window, torch_pads

_NUMBERED = re.compile(r"val_\d+")


def conv(at: At) -> Value:
    x, weight, bias = at.value(0), at.value(1), at.optional(2)
    rank = _spatial(at, x, weight, 3)
    kernel = at.ints("kernel_shape")
    if kernel is not None and kernel != weight.shape[2:]:
        raise bad_onnx(f"Conv: kernel_shape {list(kernel)} is not that of its weights", at.node.loc)
    window = read_window(at, weight.shape[2:], x.shape[2:])
    padding = window.begins
    if not window.is_symmetric:
        x = at.emit("pad.default", x, torch_pads(window.begins, window.ends))
        padding = (0,) * rank
    groups = _groups(at)
    return at.emit(f"conv{rank}d.default", x, weight, bias, window.stride, padding, window.dilation, groups)


def conv_transpose(at: At) -> Value:
    """One axis is done as two; what is padded on one side only is cut off afterwards."""
    x, weight, bias = at.value(0), at.value(1), at.optional(2)
    rank = _spatial(at, x, weight, 2)
    at.ints("kernel_shape")
    extra = at.ints("output_padding") or (0,) * rank
    window = _transposed_window(at, x, weight, extra)
    padding = tuple(min(pair) for pair in zip(window.begins, window.ends, strict=True))
    begins, ends = (
        tuple(small - size for small, size in zip(padding, sizes, strict=True))
        for sizes in (window.begins, window.ends)
    )
    front, zero = (1,) * (2 - rank), (0,) * (2 - rank)
    result = at.emit(
        "conv_transpose2d.input",
        at.emit("reshape.default", x, (*x.shape[:2], *front, *x.shape[2:])) if front else x,
        at.emit("reshape.default", weight, (*weight.shape[:2], *front, *weight.shape[2:])) if front else weight,
        bias,
        (*front, *window.stride),
        (*zero, *padding),
        (*zero, *extra),
        _groups(at),
        (*front, *window.dilation),
    )
    result = at.emit("reshape.default", result, (*result.shape[:2], *result.shape[3:])) if front else result
    return result if window.is_symmetric else at.emit("pad.default", result, torch_pads(begins, ends))


def _transposed_window(at: At, x: Value, weight: Value, extra: tuple[int, ...]) -> Window:
    """Padding may follow from the size of the result: given, or the input's times the stride."""
    rank = len(extra)
    window = read_window(at, weight.shape[2:], (1,) * rank)
    mode, wanted = at.text("auto_pad", "NOTSET"), at.ints("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        return window
    sizes = (
        tuple(size * step for size, step in zip(x.shape[2:], window.stride, strict=True)) if wanted is None else wanted
    )
    reach = tuple(
        step * (size - 1) + more + span
        for step, size, more, span in zip(window.stride, x.shape[2:], extra, window.spans, strict=True)
    )
    totals = tuple(full - size for full, size in zip(reach, sizes[-rank:], strict=False))
    if len(totals) != rank or min(totals) < 0:
        raise at.unsupported(f"its result is to be {list(sizes)}, larger than its windows reach", "use output_padding")
    small, large = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    begins, ends = (small, large) if mode == "SAME_UPPER" else (large, small)
    return Window(window.kernel, window.stride, window.dilation, begins, ends)


def _spatial(at: At, x: Value, weight: Value, most: int) -> int:
    """How many axes the images have."""
    rank = len(weight.shape) - 2
    if rank < 1 or len(x.shape) != rank + 2:
        raise bad_onnx(f"{at.node.op} of {list(x.shape)} with weights {list(weight.shape)}", at.node.loc)
    if rank > most:
        raise at.unsupported(f"its images have {rank} axes", f"1 to {most} work")
    return rank


def _groups(at: At) -> int:
    groups = at.integer("group", 1)
    if not 1 <= groups <= 65535:
        raise bad_onnx(f"{at.node.op}: group must be between 1 and 65535, not {groups}", at.node.loc)
    return groups


def matmul(at: At) -> Value:
    """With a known matrix on the right it is a linear layer."""
    x, y = at.value(0), at.value(1)
    if isinstance(y, Fixed) and isinstance(x, Live) and len(y.shape) == 2 and len(x.shape) >= 2:
        return at.emit("linear.default", x, at.emit("t.default", replace(y, path=_weight_path(at, y))))
    parts = attention_parts(at.translation, at.node.aten, x, y)
    if parts is None:
        return at.emit("matmul.default", x, y)
    target = "scaled_dot_product_attention.default"
    return at.emit(target, parts.query, parts.key, parts.value, parts.mask, 0.0, False, parts.scale)


def _weight_path(at: At, weight: Fixed) -> str:
    """The name of a layer's weight; torch's exporter numbers those that it transposed."""
    return at.name_of("weight") if at.node.is_layer and _NUMBERED.fullmatch(weight.path) else weight.path


def gemm(at: At) -> Value:
    """alpha * A B + beta * C."""
    a, b = at.value(0), at.value(1)
    c = at.optional(2)
    alpha, beta = at.number("alpha", 1.0), at.number("beta", 1.0)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise bad_onnx(f"Gemm of {list(a.shape)} and {list(b.shape)} needs two matrices", at.node.loc)
    a = at.emit("t.default", a) if at.flag("transA") else a
    weight = b if at.flag("transB") else at.emit("t.default", b)
    if c is not None and beta != 1:
        c = at.emit("mul.Tensor", c, beta)
    if not isinstance(weight, Fixed):
        product = at.emit("matmul.default", a, at.emit("t.default", weight))
        return _plus(at, product if alpha == 1 else at.emit("mul.Tensor", product, alpha), c)
    if alpha != 1:
        weight = at.emit("mul.Tensor", weight, alpha)
    bias = _row(at, c, weight.shape[0])
    return _plus(at, at.emit("linear.default", a, weight, bias), c if bias is None else None)


def _row(at: At, c: Value | None, size: int) -> Value | None:
    """C as one bias for each output, if it is that."""
    if not isinstance(c, Fixed) or c.shape not in ((size,), (1, size), (1, 1), (1,), ()):
        return None
    flat = c if c.shape == (size,) else at.emit("reshape.default", c, (-1,))
    return flat if flat.shape == (size,) else at.emit("expand.default", flat, (size,))


def _plus(at: At, x: Value, c: Value | None) -> Value:
    return x if c is None else at.emit("add.Tensor", x, c)


LINEAR: Mapping[str, Entry] = {
    "Conv": Entry(conv, (1, 11, 22)),
    "ConvTranspose": Entry(conv_transpose, (1, 11, 22)),
    "MatMul": Entry(matmul, (1, 9, 13)),
    "Gemm": Entry(gemm, (7, 9, 11, 13)),
}
