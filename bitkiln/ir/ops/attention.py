"""Matrix products whose two sides may both depend on the input, and attention made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.types import TensorType

from ._base import Op, broadcast, expect, expect_count, require, require_float32


@dataclass(frozen=True)
class MatMul(Op):
    """x [..., M, K] times y [..., K, N]; the axes in front broadcast. Floats."""

    name: ClassVar[str] = "matmul"

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("matmul", args, 2)
        x, y = args
        expect(x.is_float and y.number == x.number, f"matmul takes floats of one format, not {x} and {y}")
        expect(
            min(len(x.shape), len(y.shape)) >= 2 and x.shape[-1] == y.shape[-2],
            f"matmul of {list(x.shape)} and {list(y.shape)}: the inner sizes must be equal",
        )
        return TensorType((*broadcast(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]), x.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        return torch.matmul(args[0], args[1])

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        rank = max(3, *(len(arg.shape) for arg in args))
        return tuple(len(arg.shape) == rank for arg in args)

    def macs(self, *args: TensorType) -> int:
        return self.infer(*args).elements * args[0].shape[-1]


@dataclass(frozen=True)
class Attention(Op):
    """softmax(q k^T * scale + mask) v over the last two axes. Floats; all arguments have as many axes.

    Arguments: q [..., L, E], k [..., S, E], v [..., S, V], optional mask [..., L, S] that is added before the softmax.
    `causal` hides each query from later keys.
    """

    name: ClassVar[str] = "attention"
    scale: float
    causal: bool = False

    def __post_init__(self) -> None:
        require_float32("scale of attention", self.scale)
        require(math.isfinite(self.scale), f"the scale of attention must be finite, not {self.scale}")

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("attention", args, 3, 4)
        q, k, v = args[:3]
        expect(
            all(arg.is_float and arg.number == q.number for arg in args),
            f"attention takes floats of one format, not {', '.join(map(str, args))}",
        )
        expect(
            len(q.shape) >= 3 and all(len(arg.shape) == len(q.shape) for arg in args),
            f"attention takes arguments of as many axes, at least 3, not {', '.join(map(str, args))}",
        )
        expect(
            q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2],
            f"attention of q {list(q.shape)}, k {list(k.shape)} and v {list(v.shape)} does not fit together",
        )
        lead = broadcast(broadcast(q.shape[:-2], k.shape[:-2]), v.shape[:-2])
        if len(args) > 3:
            scores = (*lead, q.shape[-2], k.shape[-2])
            expect(
                broadcast(scores, args[3].shape) == scores,
                f"the mask {list(args[3].shape)} does not fit the scores {list(scores)}",
            )
        return TensorType((*lead, q.shape[-2], v.shape[-1]), q.number)

    def evaluate(self, *args: Tensor) -> Tensor:
        scores = torch.matmul(args[0], args[1].transpose(-2, -1)) * self.scale
        if len(args) > 3:
            scores = scores + args[3]
        if self.causal:
            hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, -math.inf)
        return torch.matmul(torch.softmax(scores, -1), args[2])

    def macs(self, *args: TensorType) -> int:
        """Both products: q k^T and the weighted sum of v."""
        queries = self.infer(*args).elements // args[2].shape[-1]
        return queries * args[1].shape[-2] * (args[0].shape[-1] + args[2].shape[-1])
