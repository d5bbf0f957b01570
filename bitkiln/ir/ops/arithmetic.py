"""Products and quotients of two tensors, element by element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, broadcast, expect, expect_count


@dataclass(frozen=True)
class _Binary(Op):
    """Two floats; shapes broadcast behind the batch axis."""

    def infer(self, *args: TensorType) -> TensorType:
        expect_count(self.name, args, 2)
        x, y = args
        expect(x.is_float and y.number == x.number, f"{self.name} takes floats of one format, not {x} and {y}")
        return TensorType(broadcast(x.shape, y.shape), x.number)

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        rank = max(len(arg.shape) for arg in args)
        return tuple(len(arg.shape) == rank for arg in args)


@dataclass(frozen=True)
class Mul(_Binary):
    """x * y: gates, layer scale, factors."""

    name: ClassVar[str] = "mul"

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0] * args[1]


@dataclass(frozen=True)
class Div(_Binary):
    """x / y, both of which may depend on the input."""

    name: ClassVar[str] = "div"

    def evaluate(self, *args: Tensor) -> Tensor:
        return args[0] / args[1]
