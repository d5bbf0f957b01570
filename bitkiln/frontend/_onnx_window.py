"""Kernel, stride and padding of ONNX convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from ._onnx_at import At
from ._onnx_file import bad_onnx

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Attributes with one number an axis; `begins` and `ends` are the padding before and behind the image."""

    kernel: Ints
    stride: Ints
    dilation: Ints
    begins: Ints
    ends: Ints

    @property
    def is_symmetric(self) -> bool:
        return self.begins == self.ends

    @property
    def spans(self) -> Ints:
        """Elements that a window reaches over."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation, strict=True))


def read_window(at: At, kernel: Ints, image: Ints) -> Window:
    """Read the attributes of a node whose windows move over an image of these sizes."""
    rank = len(kernel)
    stride, dilation = _list(at, "strides", rank, 1), _list(at, "dilations", rank, 1)
    window = Window(kernel, stride, dilation, (0,) * rank, (0,) * rank)
    mode = at.text("auto_pad", "NOTSET")
    pads = _list(at, "pads", 2 * rank, 0)
    if mode == "NOTSET":
        return Window(kernel, stride, dilation, pads[:rank], pads[rank:])
    if any(pads):
        raise bad_onnx(f"{at.node.op} has both auto_pad and pads", at.node.loc)
    if mode == "VALID":
        return window
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise bad_onnx(f"{at.node.op}: auto_pad is {mode[:40]!r}", at.node.loc)
    totals = [
        max((-(-size // step) - 1) * step + span - size, 0)
        for size, step, span in zip(image, stride, window.spans, strict=True)
    ]
    small, large = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
    begins, ends = (small, large) if mode == "SAME_UPPER" else (large, small)
    return Window(kernel, stride, dilation, begins, ends)


def kernel_shape(at: At, rank: int) -> Ints:
    """The attribute of pooling, which has no weights that say it."""
    kernel = at.ints("kernel_shape")
    if kernel is None or len(kernel) != rank:
        raise bad_onnx(f"{at.node.op} needs a kernel_shape of {rank} numbers", at.node.loc)
    return _within(at, "kernel_shape", kernel, 1)


def _list(at: At, name: str, count: int, least: int) -> Ints:
    found = at.ints(name)
    if found is None:
        return (least,) * count
    if len(found) != count:
        raise bad_onnx(f"{at.node.op}: {name} must be {count} numbers, not {len(found)}", at.node.loc)
    return _within(at, name, found, least)


def _within(at: At, name: str, values: Ints, least: int) -> Ints:
    """Sizes that a layer can have, so that no later sum overflows."""
    for value in values:
        if not least <= value <= 65535:
            raise bad_onnx(f"{at.node.op}: {name} must be between {least} and 65535, not {value}", at.node.loc)
    return values


def torch_pads(begins: Ints, ends: Ints) -> Ints:
    """Padding as torch's pad takes it: pairs, the last axis first."""
    return tuple(size for pair in reversed(list(zip(begins, ends, strict=True))) for size in pair)
