"""Codes by comparison: what batch norm, activation and quantiser after an exact sum amount to, for any scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

from ._base import MAX_ATTRIBUTE, Op, expect, expect_count, require, require_between

FEW = 15  # up to so many thresholds, comparing with each is faster than searching


@dataclass(frozen=True)
class MultiThreshold(Op):
    """base + step * (how many thresholds are at most x), with one list of thresholds for all or one a channel.

    Arguments: x with its channels along `axis`, floats or codes; thresholds [C, n] or [1, n] of x's format (codes at
    x's points, of any width), in any order. `base` and `step` are given once or once a channel: a falling function has
    a negative step. Without gradient.

    >>> MultiThreshold(Int(2), (-1,), (2,)).evaluate(torch.tensor([[-3.0, 0.0]]), torch.tensor([[0.0]])).tolist()
    [[-1.0, 1.0]]
    """

    name: ClassVar[str] = "multi_threshold"
    number: Int
    base: tuple[int, ...] = (0,)
    step: tuple[int, ...] = (1,)
    axis: int = 1

    def __post_init__(self) -> None:
        require(isinstance(self.number.frac, int), f"multi_threshold has one point for all results, not {self.number}")
        require_between("axis of multi_threshold", (self.axis,), 1)
        require(len(self.base) >= 1 and len(self.step) >= 1, "multi_threshold needs a base and a step")
        require_between("base of multi_threshold", self.base, self.number.lo, self.number.hi)
        require_between("step of multi_threshold", self.step, -MAX_ATTRIBUTE)
        require(0 not in self.step, "a step of multi_threshold must not be 0")

    def code_range(self, thresholds: int) -> tuple[int, int]:
        """Smallest and largest code that `thresholds` thresholds can give."""
        channels = max(len(self.base), len(self.step))
        base, step = ((values * channels)[:channels] for values in (self.base, self.step))
        ends = [last for b, s in zip(base, step, strict=True) for last in (b, b + s * thresholds)]
        return min(ends), max(ends)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("multi_threshold", args, 2)
        x, thresholds = args
        expect(self.axis < len(x.shape), f"multi_threshold of {list(x.shape)} has no axis {self.axis}")
        channels = x.shape[self.axis]
        expect(
            len(thresholds.shape) == 2 and thresholds.shape[0] in (1, channels),
            f"multi_threshold of {list(x.shape)} takes [{channels}, n] or [1, n] thresholds, "
            f"not {list(thresholds.shape)}",
        )
        counts = (len(self.base), len(self.step))
        expect(
            all(count in (1, channels) for count in counts),
            f"multi_threshold of {channels} channels takes 1 or {channels} bases and steps, not {counts}",
        )
        self._expect_comparable(x, thresholds)
        low, high = self.code_range(thresholds.shape[1])
        expect(
            self.number.lo <= low and high <= self.number.hi,
            f"multi_threshold gives codes from {low} to {high}, which {self.number} does not hold",
        )
        return TensorType(x.shape, self.number)

    def _expect_comparable(self, x: TensorType, thresholds: TensorType) -> None:
        """Both are floats, or codes that count in the same units."""
        if isinstance(x.number, Float):
            expect(thresholds.number == x.number, f"multi_threshold of {x} takes such thresholds, not {thresholds}")
            return
        number = thresholds.number
        expect(
            isinstance(x.number, Int) and isinstance(number, Int),
            f"multi_threshold compares floats or fixed point, not {x} and {thresholds}",
        )
        assert isinstance(x.number, Int) and isinstance(number, Int)
        axes = (None, None) if x.number.axis is None else (self.axis, 0)
        expect(
            (x.number.axis, number.axis) == axes and x.number.fracs == number.fracs,
            f"the thresholds need the points of {x.number}, not {number}",
        )

    def evaluate(self, *args: Tensor) -> Tensor:
        x, thresholds = args
        rest = (1,) * (x.dim() - 1 - self.axis)
        base, step = (torch.tensor(values, dtype=x.dtype).reshape(-1, *rest) for values in (self.base, self.step))
        if thresholds.shape[1] <= FEW:
            count = torch.zeros_like(x)
            for column in thresholds.t():
                count += x >= column.reshape(-1, *rest)
        else:
            count = self._searched(x, thresholds).to(x.dtype)
        return base + step * count

    def _searched(self, x: Tensor, thresholds: Tensor) -> Tensor:
        rows = thresholds.sort(1).values
        if len(rows) == 1:
            return torch.searchsorted(rows[0], x.contiguous(), right=True)
        channels = x.movedim(self.axis, 0)
        count = torch.searchsorted(rows, channels.flatten(1).contiguous(), right=True)
        return count.reshape(channels.shape).movedim(0, self.axis)

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, False)[: len(args)]
