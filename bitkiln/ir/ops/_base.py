"""What every operation is: typed attributes, a type rule, and one executable meaning."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.diagnostics import fail
from bitkiln.ir.numbers import Float, Int
from bitkiln.ir.types import TensorType

# Sizes, strides and paddings above are no layer of a network, and would overflow torch's kernels.
MAX_ATTRIBUTE = 65535


@dataclass(frozen=True)
class Op(ABC):
    """One operation; the fields of the subclass are its attributes.

    `evaluate` is the definition: on floats it computes values, on fixed-point codes (carried exactly in a float
    dtype) it computes codes. The same function serves inference, training and the golden integer model. Constructors
    raise ToolError `bad-value` for attributes that no arguments could fit.
    """

    name: ClassVar[str]

    @abstractmethod
    def infer(self, *args: TensorType) -> TensorType:
        """Return the result's type; raises ToolError `type-mismatch` when the arguments do not fit."""

    @abstractmethod
    def evaluate(self, *args: Tensor) -> Tensor:
        """Compute the result; axis 0 of activations is a batch of any size."""

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        """Which arguments may be activations, with a batch in axis 0; the others must not depend on an input."""
        return (True,) * len(args)

    def macs(self, *args: TensorType) -> int:
        """Multiply-accumulate operations for one sample."""
        return 0

    @property
    def trained(self) -> tuple[int, ...]:
        """Positions of the arguments that training moves, where they are constants; 2 is a bias."""
        return ()

    @property
    def latent_limit(self) -> float | None:
        """Largest magnitude of the first trained argument, to which training clips a float one after each step."""
        return None


def expect(condition: bool, message: str) -> None:
    """Raise ToolError `type-mismatch` with `message` unless the condition holds."""
    if not condition:
        raise fail("type-mismatch", message)


def expect_count(name: str, args: tuple[TensorType, ...], least: int, most: int | None = None) -> None:
    """Raise `type-mismatch` unless there are `least` to `most` arguments (exactly `least` without `most`)."""
    most = least if most is None else most
    wanted = str(least) if least == most else f"{least} to {most}"
    expect(least <= len(args) <= most, f"{name} takes {wanted} argument{'s' * (most > 1)}, not {len(args)}")


def expect_plain(name: str, type_: TensorType) -> None:
    """Raise `type-mismatch` unless `type_` is float or fixed point, whose order and sums are those of its codes."""
    expect(isinstance(type_.number, Float | Int), f"{name} takes floats or fixed point, not {type_}")


def expect_channel_points(what: str, number: Int) -> None:
    """Raise `type-mismatch` if points differ along another axis than 1, the channels."""
    expect(number.axis in (None, 1), f"{what} has one point for all or one a channel of axis 1, not {number}")


def require(condition: bool, message: str) -> None:
    """Raise ToolError `bad-value` with `message` unless the condition holds: an attribute that cannot be meant."""
    if not condition:
        raise fail("bad-value", message)


def require_between(name: str, values: tuple[int, ...], least: int, most: int = MAX_ATTRIBUTE) -> None:
    """Raise ToolError `bad-value` that names the attribute unless every value is within the bounds."""
    for value in values:
        require(least <= value <= most, f"{name} must be between {least} and {most}, not {value}")


def require_float32(name: str, *values: float) -> None:
    """Raise `bad-value` for NaN and for finite values beyond 32-bit floats, which torch cannot convert."""
    for value in values:
        in_range = math.isinf(value) or abs(value) <= torch.finfo(torch.float32).max
        require(in_range, f"{name} must be a number within 32-bit floating point, not {value}")


def broadcast(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an operation on two tensors, as NumPy defines it; raises `type-mismatch`."""
    rank = max(len(x), len(y))
    pairs = list(zip((1,) * (rank - len(x)) + x, (1,) * (rank - len(y)) + y, strict=True))
    expect(all(a == b or 1 in (a, b) for a, b in pairs), f"shapes {list(x)} and {list(y)} do not broadcast")
    return tuple(max(pair) for pair in pairs)


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
