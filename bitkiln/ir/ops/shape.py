"""Operations that move elements but compute nothing, and arg-max."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in row-major order under another shape; the batch axis stays first and free."""

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, *args: TensorType) -> TensorType:
        x = args[0]
        expect(
            len(self.shape) >= 1 and self.shape[0] == x.shape[0],
            f"reshape {list(x.shape)} to {list(self.shape)} touches the batch axis",
        )
        expect(math.prod(self.shape) == x.elements, f"{list(x.shape)} has not the elements of {list(self.shape)}")
        expect(
            not (isinstance(x.number, Int) and x.number.axis is not None),
            "reshape of codes with one point a channel",
        )
        return TensorType(self.shape, x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0].reshape(args[0].shape[0], *self.shape[1:])


@dataclass(frozen=True)
class Concat(Op):
    """The arguments one after the other along `axis`; codes must have the same number format."""

    name: ClassVar[str] = "concat"
    axis: int = 1

    def infer(self, *args: TensorType) -> TensorType:
        first = args[0]
        expect(
            0 < self.axis < len(first.shape),
            f"concat of {list(first.shape)} has no axis {self.axis} behind the batch",
        )
        for arg in args[1:]:
            expect(
                arg.number == first.number,
                f"concat of {first.number} and {arg.number}: the formats must be equal",
            )
            same = len(arg.shape) == len(first.shape) and all(
                a == b for i, (a, b) in enumerate(zip(arg.shape, first.shape, strict=True)) if i != self.axis
            )
            expect(same, f"concat of {list(first.shape)} and {list(arg.shape)} along axis {self.axis}")
        total = sum(arg.shape[self.axis] for arg in args)
        return TensorType((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]), first.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.cat(args, self.axis)


@dataclass(frozen=True)
class ArgMax(Op):
    """Index of the largest element along axis 1, the first of equals. Argument: x [1, C]; result [1]."""

    name: ClassVar[str] = "argmax"

    def infer(self, *args: TensorType) -> TensorType:
        expect(len(args[0].shape) == 2, f"argmax needs 2 axes, not {list(args[0].shape)}")
        return TensorType(args[0].shape[:1], Int.holding(0, args[0].shape[1] - 1))

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.argmax(args[0], 1).to(args[0].dtype)
