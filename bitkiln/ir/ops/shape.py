"""Operations that move elements but compute nothing, and top-k (arg-max)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require_between


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in row-major order under another shape; the batch axis stays first and free."""

    name: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        TensorType(self.shape, Float())  # raises what is wrong with a shape

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("reshape", args, 1)
        x = args[0]
        expect(
            len(self.shape) >= 1 and len(x.shape) >= 1 and self.shape[0] == x.shape[0],
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

    def __post_init__(self) -> None:
        require_between("axis of concat", (self.axis,), 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect(len(args) >= 1, "concat takes at least 1 argument, not 0")
        first = args[0]
        expect(
            self.axis < len(first.shape),
            f"concat of {list(first.shape)} has no axis {self.axis} behind the batch",
        )
        expect(
            not isinstance(first.number, Int) or first.number.axis is None,
            f"concat takes codes with one point for the whole tensor, not {first}",
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
        batch = max(arg.shape[0] for arg in args) if all(len(arg) for arg in args) else 0
        return torch.cat([arg.expand(batch, *arg.shape[1:]) if len(arg) == 1 else arg for arg in args], self.axis)


@dataclass(frozen=True)
class TopK(Op):
    """Indices of the `k` largest elements along axis 1, the largest first, of equals the one with the lowest index.

    Argument: x [1, C]; result [1, k], or [1] for k = 1, which is arg-max. `torch.argmax` keeps this rule for equals;
    `torch.topk` promises none, so that its indices may differ from these where elements are equal.
    """

    name: ClassVar[str] = "top_k"
    k: int = 1

    def __post_init__(self) -> None:
        require_between("k of top_k", (self.k,), 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("top_k", args, 1)
        number, shape = args[0].number, args[0].shape
        expect(
            isinstance(number, Float) or (isinstance(number, Int) and number.axis is None),
            f"top_k compares codes with one point for the whole tensor, not {args[0]}",
        )
        expect(len(shape) == 2, f"top_k needs 2 axes, not {list(shape)}")
        expect(self.k <= shape[1], f"top_k of {shape[1]} elements gives at most {shape[1]}, not {self.k}")
        return TensorType((shape[0], self.k) if self.k > 1 else shape[:1], Int.holding(0, shape[1] - 1))

    def evaluate(self, *args: Tensor) -> Tensor:
        if self.k == 1:
            return torch.argmax(args[0], 1).to(args[0].dtype)
        order = torch.sort(args[0], dim=1, descending=True, stable=True).indices
        return order[:, : self.k].to(args[0].dtype)
