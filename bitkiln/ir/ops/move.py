"""Operations that bring elements to other places, copy or drop them: no arithmetic, so codes pass through unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

from ._base import MAX_ATTRIBUTE, Op, broadcast, expect, expect_count, require, require_between, require_float32

Pair = tuple[int, int]


def _movable(name: str, args: tuple[TensorType, ...]) -> TensorType:
    """The only argument, whose elements must all have one format."""
    expect_count(name, args, 1)
    number = args[0].number
    expect(
        not (isinstance(number, Int) and number.axis is not None),
        f"{name} takes elements of one format, not {number} with one point a channel",
    )
    return args[0]


@dataclass(frozen=True)
class Permute(Op):
    """Axis i of the result is axis `axes[i]` of x; the batch axis stays first."""

    name: ClassVar[str] = "permute"
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        is_permutation = sorted(self.axes) == list(range(len(self.axes)))
        require(
            is_permutation and self.axes[:1] == (0,),
            f"axes of permute must be an order of all axes that begins with 0, not {list(self.axes)}",
        )

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("permute", args)
        expect(len(x.shape) == len(self.axes), f"permute {list(self.axes)} does not fit shape {list(x.shape)}")
        return TensorType(tuple(x.shape[axis] for axis in self.axes), x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].permute(self.axes)


@dataclass(frozen=True)
class Slice(Op):
    """Elements start, start + step, ... before stop along `axis`."""

    name: ClassVar[str] = "slice"
    axis: int
    start: int
    stop: int
    step: int = 1

    def __post_init__(self) -> None:
        require_between("axis of slice", (self.axis,), 1)
        require_between("step of slice", (self.step,), 1)
        require(0 <= self.start < self.stop, f"slice needs 0 <= start < stop, not {self.start} and {self.stop}")

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("slice", args)
        expect(
            self.axis < len(x.shape) and self.stop <= x.shape[self.axis],
            f"slice {self.start}:{self.stop} of axis {self.axis} does not fit shape {list(x.shape)}",
        )
        size = -(-(self.stop - self.start) // self.step)
        return TensorType((*x.shape[: self.axis], size, *x.shape[self.axis + 1 :]), x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0][(slice(None),) * self.axis + (slice(self.start, self.stop, self.step),)]


class PadMode(Enum):
    """What stands in the border: a constant, the image mirrored, its edge repeated, its other side."""

    CONSTANT = "constant"
    REFLECT = "reflect"
    REPLICATE = "replicate"
    CIRCULAR = "circular"


@dataclass(frozen=True)
class Pad(Op):
    """Add `pads[i]` = (before, after) elements along axis i + 1; negative numbers cut elements off.

    `value` fills the border of mode CONSTANT, on codes it must be 0. The other modes pad the last one or two axes of
    four by no more than their size.
    """

    name: ClassVar[str] = "pad"
    pads: tuple[Pair, ...]
    mode: PadMode = PadMode.CONSTANT
    value: float = 0.0

    def __post_init__(self) -> None:
        for pair in self.pads:
            require_between("pads of pad", pair, -MAX_ATTRIBUTE)
        require_float32("value of pad", self.value)

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("pad", args)
        expect(
            len(x.shape) == len(self.pads) + 1, f"pad of {list(x.shape)} needs a pair for each axis behind the first"
        )
        expect(isinstance(x.number, Float) or self.value == 0, f"pad of {x} must be with 0, not {self.value}")
        if self.mode is not PadMode.CONSTANT:
            self._expect_source(x.shape)
        sizes = [size + sum(pair) for size, pair in zip(x.shape[1:], self.pads, strict=True)]
        kept = [size + min(0, pair[0]) + min(0, pair[1]) for size, pair in zip(x.shape[1:], self.pads, strict=True)]
        expect(min((*sizes, *kept), default=1) > 0, f"pad of {list(x.shape)} by {self.pads} leaves nothing")
        return TensorType((x.shape[0], *sizes), x.number)

    def _expect_source(self, shape: tuple[int, ...]) -> None:
        """The image must have what its border is made of."""
        spare = {PadMode.REFLECT: 1, PadMode.CIRCULAR: 0}.get(self.mode, -MAX_ATTRIBUTE)
        pairs = list(zip(self.pads, shape[1:], strict=True))
        expect(
            len(shape) == 4
            and self.pads[0] == (0, 0)
            and all(min(pair) >= 0 and max(pair) <= size - spare for pair, size in pairs),
            f"pad of {list(shape)} by {self.pads} is not possible in mode {self.mode.value}",
        )

    def evaluate(self, *args: Tensor) -> Tensor:
        pads = self.pads if self.mode is PadMode.CONSTANT else self.pads[-2:]
        flat = [size for pair in reversed(pads) for size in pair]
        value = self.value if self.mode is PadMode.CONSTANT else None
        return F.pad(args[0], flat, self.mode.value, value)


@dataclass(frozen=True)
class Expand(Op):
    """Repeat axes of size 1 up to `shape`; the batch axis stays free."""

    name: ClassVar[str] = "expand"
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        TensorType(self.shape, Float())  # raises what is wrong with a shape

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("expand", args)
        expect(
            len(x.shape) == len(self.shape) and broadcast(x.shape, self.shape) == self.shape,
            f"shape {list(x.shape)} does not expand to {list(self.shape)}",
        )
        expect(x.shape[:1] == self.shape[:1], "expand does not touch the batch axis")
        return TensorType(self.shape, x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].expand(args[0].shape[0], *self.shape[1:])


@dataclass(frozen=True)
class Roll(Op):
    """Move all elements on by `shifts[i]` places along `axes[i]`; what leaves at the end comes back in front."""

    name: ClassVar[str] = "roll"
    shifts: tuple[int, ...]
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        require(len(self.shifts) == len(self.axes), "roll needs as many shifts as axes")
        require_between("axes of roll", self.axes, 1)
        require_between("shifts of roll", self.shifts, -MAX_ATTRIBUTE)

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("roll", args)
        expect(max(self.axes, default=0) < len(x.shape), f"roll of {list(x.shape)} has not all axes {list(self.axes)}")
        return x

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.roll(args[0], self.shifts, self.axes) if self.axes else args[0]


@dataclass(frozen=True)
class Flip(Op):
    """The elements in opposite order along `axes`."""

    name: ClassVar[str] = "flip"
    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        require_between("axes of flip", self.axes, 1)
        require(len(set(self.axes)) == len(self.axes), f"axes of flip must differ, not {list(self.axes)}")

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("flip", args)
        expect(max(self.axes, default=0) < len(x.shape), f"flip of {list(x.shape)} has not all axes {list(self.axes)}")
        return x

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.flip(args[0], self.axes)


@dataclass(frozen=True)
class Take(Op):
    """The elements at `indices` along `axis`, in that order; an index may repeat."""

    name: ClassVar[str] = "take"
    axis: int
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        require_between("axis of take", (self.axis,), 1)
        require(len(self.indices) >= 1 and min(self.indices) >= 0, "take needs indices from 0")

    def infer(self, *args: TensorType) -> TensorType:
        x = _movable("take", args)
        expect(
            self.axis < len(x.shape) and max(self.indices) < x.shape[self.axis],
            f"take of axis {self.axis} up to {max(self.indices)} does not fit shape {list(x.shape)}",
        )
        return TensorType((*x.shape[: self.axis], len(self.indices), *x.shape[self.axis + 1 :]), x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].index_select(self.axis, torch.tensor(self.indices))
