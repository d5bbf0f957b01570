"""Functions of one element. On codes each is a lookup table, so they all have the same rule: floats in, floats out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require_float32


@dataclass(frozen=True)
class Pointwise(Op):
    """A function applied to every element of x. Floats only."""

    def infer(self, *args: TensorType) -> TensorType:
        expect_count(self.name, args, 1)
        expect(args[0].is_float, f"{self.name} takes floats, not {args[0]}")
        return args[0]


@dataclass(frozen=True)
class Abs(Pointwise):
    """x without its sign."""

    name: ClassVar[str] = "abs"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.abs(args[0])


@dataclass(frozen=True)
class Exp(Pointwise):
    """e to the power of x."""

    name: ClassVar[str] = "exp"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.exp(args[0])


@dataclass(frozen=True)
class Log(Pointwise):
    """Natural logarithm; minus infinity at 0, and NaN below."""

    name: ClassVar[str] = "log"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.log(args[0])


@dataclass(frozen=True)
class Sigmoid(Pointwise):
    """1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.sigmoid(args[0])


@dataclass(frozen=True)
class Tanh(Pointwise):
    """Hyperbolic tangent."""

    name: ClassVar[str] = "tanh"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.tanh(args[0])


@dataclass(frozen=True)
class Silu(Pointwise):
    """x * sigmoid(x), also called swish."""

    name: ClassVar[str] = "silu"

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.silu(args[0])


@dataclass(frozen=True)
class HardSigmoid(Pointwise):
    """min(max(x + 3, 0), 6) / 6."""

    name: ClassVar[str] = "hard_sigmoid"

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.hardsigmoid(args[0])


@dataclass(frozen=True)
class HardSwish(Pointwise):
    """x * min(max(x + 3, 0), 6) / 6."""

    name: ClassVar[str] = "hard_swish"

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.hardswish(args[0])


@dataclass(frozen=True)
class Gelu(Pointwise):
    """x * Phi(x), Phi of the normal distribution; `tanh_form` is the approximation of Hendrycks and Gimpel (2016)."""

    name: ClassVar[str] = "gelu"
    tanh_form: bool = False

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.gelu(args[0], approximate="tanh" if self.tanh_form else "none")


@dataclass(frozen=True)
class LeakyRelu(Pointwise):
    """x where it is positive, else slope * x."""

    name: ClassVar[str] = "leaky_relu"
    slope: float

    def __post_init__(self) -> None:
        require_float32("slope of leaky_relu", self.slope)

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.leaky_relu(args[0], self.slope)


@dataclass(frozen=True)
class Elu(Pointwise):
    """x where it is positive, else alpha * (exp(x) - 1)."""

    name: ClassVar[str] = "elu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        require_float32("alpha of elu", self.alpha)

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.elu(args[0], self.alpha)


@dataclass(frozen=True)
class Softplus(Pointwise):
    """log(1 + exp(beta * x)) / beta; beyond `threshold` (in units of beta * x) x itself."""

    name: ClassVar[str] = "softplus"
    beta: float = 1.0
    threshold: float = 20.0

    def __post_init__(self) -> None:
        require_float32("beta of softplus", self.beta)
        require_float32("threshold of softplus", self.threshold)

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.softplus(args[0], self.beta, self.threshold)


@dataclass(frozen=True)
class Mish(Pointwise):
    """x * tanh(log(1 + exp(x)))."""

    name: ClassVar[str] = "mish"

    def evaluate(self, *args: Tensor) -> Tensor:
        return F.mish(args[0])


@dataclass(frozen=True)
class Power(Pointwise):
    """x ** exponent: squares, roots and reciprocals. A negative x with a broken exponent gives NaN."""

    name: ClassVar[str] = "power"
    exponent: float

    def __post_init__(self) -> None:
        require_float32("exponent of power", self.exponent)

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.pow(args[0], self.exponent)
