"""Normalisation that depends on the values themselves: softmax, layer norm, group norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count, require, require_between, require_float32


@dataclass(frozen=True)
class _AlongAxis(Op):
    axis: int

    def __post_init__(self) -> None:
        require_between(f"axis of {self.name}", (self.axis,), 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count(self.name, args, 1)
        expect(args[0].is_float, f"{self.name} takes floats, not {args[0]}")
        expect(self.axis < len(args[0].shape), f"{self.name} of {list(args[0].shape)} has no axis {self.axis}")
        return args[0]


@dataclass(frozen=True)
class Softmax(_AlongAxis):
    """exp(x) over its sum along `axis`. Floats."""

    name: ClassVar[str] = "softmax"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.softmax(args[0], self.axis)


@dataclass(frozen=True)
class LogSoftmax(_AlongAxis):
    """x minus the logarithm of the sum of exp(x) along `axis`. Floats."""

    name: ClassVar[str] = "log_softmax"

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.log_softmax(args[0], self.axis)


@dataclass(frozen=True)
class LayerNorm(Op):
    """(x - mean) / sqrt(variance + eps) over the last `axes` axes, times weight, plus bias. Floats.

    Arguments: x, optional weight and then optional bias, both of the shape of these axes.
    """

    name: ClassVar[str] = "layer_norm"
    axes: int = 1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_between("axes of layer_norm", (self.axes,), 1)
        require_float32("eps of layer_norm", self.eps)
        require(0 <= self.eps < math.inf, f"eps of layer_norm must be finite and at least 0, not {self.eps}")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("layer_norm", args, 1, 3)
        x = args[0]
        expect(all(arg.is_float for arg in args), f"layer_norm takes floats, not {', '.join(map(str, args))}")
        expect(self.axes < len(x.shape), f"layer_norm of {list(x.shape)} over {self.axes} axes touches the batch")
        for arg in args[1:]:
            shape = x.shape[-self.axes :]
            expect(arg.shape == shape, f"layer_norm of {x} needs parameters of shape {list(shape)}, not {arg}")
        return x

    def evaluate(self, *args: Tensor) -> Tensor:
        weight, bias = (*args[1:], None, None)[:2]
        return F.layer_norm(args[0], args[0].shape[-self.axes :], weight, bias, self.eps)

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, False, False)[: len(args)]

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)


@dataclass(frozen=True)
class GroupNorm(Op):
    """Normalise each of `groups` equal groups of channels (axis 1), then scale and shift each channel. Floats.

    Arguments: x [1, C, ...], optional weight [C] and then optional bias [C]. One group a channel is instance norm.
    """

    name: ClassVar[str] = "group_norm"
    groups: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_between("groups of group_norm", (self.groups,), 1)
        require_float32("eps of group_norm", self.eps)
        require(0 <= self.eps < math.inf, f"eps of group_norm must be finite and at least 0, not {self.eps}")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("group_norm", args, 1, 3)
        x = args[0]
        expect(all(arg.is_float for arg in args), f"group_norm takes floats, not {', '.join(map(str, args))}")
        expect(
            len(x.shape) >= 2 and x.shape[1] % self.groups == 0,
            f"group_norm of {list(x.shape)}: the channels do not divide into {self.groups} groups",
        )
        for arg in args[1:]:
            expect(arg.shape == x.shape[1:2], f"group_norm of {x} needs {x.shape[1]} parameters, not {arg}")
        return x

    def evaluate(self, *args: Tensor) -> Tensor:
        weight, bias = (*args[1:], None, None)[:2]
        return F.group_norm(args[0], self.groups, weight, bias, self.eps)

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (True, False, False)[: len(args)]

    @property
    def trained(self) -> tuple[int, ...]:
        return (1, 2)
