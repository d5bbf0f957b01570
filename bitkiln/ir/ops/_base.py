"""What every operation is: typed attributes, a type rule, and one executable meaning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.diagnostics import fail
from bitkiln.ir.numbers import Int
from bitkiln.ir.types import TensorType


@dataclass(frozen=True)
class Op(ABC):
    """One operation; the fields of the subclass are its attributes.

    `evaluate` is the definition: on floats it computes values, on fixed-point codes (carried exactly in a float dtype) it
    computes codes. The same function serves inference, training and the golden integer model.
    """

    name: ClassVar[str]

    @abstractmethod
    def infer(self, *args: TensorType) -> TensorType:
        """Return the result's type; raises ToolError `type-mismatch` when the arguments do not fit."""

    @abstractmethod
    def evaluate(self, *args: Tensor) -> Tensor:
        """Compute the result; axis 0 of activations is a batch of any size."""

    def macs(self, *args: TensorType) -> int:
        """Multiply-accumulate operations for one sample."""
        return 0


def expect(condition: bool, message: str) -> None:
    """Raise ToolError `type-mismatch` with `message` unless the condition holds."""
    if not condition:
        raise fail("type-mismatch", message)


def expect_int(type_: TensorType, what: str) -> Int:
    """Return the Int format of `type_`, or raise `type-mismatch`."""
    if not isinstance(type_.number, Int):
        raise fail("type-mismatch", f"{what} must be fixed point, not {type_}")
    return type_.number


class _Floor(torch.autograd.Function):
    """Floor whose gradient is that of the identity (straight-through estimator, Bengio et al. 2013)."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.floor(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


def floor(x: Tensor) -> Tensor:
    """Floor with a straight-through gradient."""
    if x.requires_grad:
        result: Tensor = _Floor.apply(x)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        return result
    return torch.floor(x)
