"""HashedNets: a hash of its place says which of a few values a weight has, so no index is stored (Chen et al. 2015)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.ir.numbers import Float
from bitkiln.ir.types import TensorType

from ._base import expect, expect_count, require_between
from .decode import SharedWeights


@dataclass(frozen=True)
class HashedWeight(SharedWeights):
    """A weight of `shape` whose element i (in row-major order) is sign(i) * table[place(i)]. Argument: floats [m].

    With h(x) the 32-bit finaliser of MurmurHash3 and all sums modulo 2^32: key = h(seed + 0x9E3779B9), place(i) =
    h(i + key) mod m, and sign(i) is -1 where the lowest bit of h(h(i + key) + 1) is set. The table's gradient is the
    sum of those of its weights, with their signs.
    """

    name: ClassVar[str] = "hashed_weight"
    shape: tuple[int, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        TensorType(self.shape, Float())  # raises what is wrong with a shape
        require_between("seed of hashed_weight", (self.seed,), 0, (1 << 32) - 1)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("hashed_weight", args, 1)
        expect(
            args[0].is_float and len(args[0].shape) == 1,
            f"hashed_weight takes a table of floats with one axis, not {args[0]}",
        )
        return TensorType(self.shape, args[0].number)

    def evaluate(self, *args: Tensor) -> Tensor:
        places, signs = self.places(len(args[0]))
        return (args[0].index_select(0, places) * signs.to(args[0].dtype)).reshape(self.shape)

    def places(self, size: int) -> tuple[Tensor, Tensor]:
        """Return for each element, in row-major order, its place in a table of `size` values, and its sign."""
        return _places(math.prod(self.shape), self.seed, size)

    @property
    def trained(self) -> tuple[int, ...]:
        return (0,)


@lru_cache(maxsize=32)
def _places(count: int, seed: int, size: int) -> tuple[Tensor, Tensor]:
    key = _mixed(np.array([seed], np.uint32) + np.uint32(0x9E3779B9))
    hashed = _mixed(np.arange(count, dtype=np.uint32) + key)
    signs = 1 - 2 * (_mixed(hashed + np.uint32(1)) & np.uint32(1)).astype(np.int8)
    return torch.from_numpy((hashed % np.uint32(size)).astype(np.int64)), torch.from_numpy(signs)


def _mixed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finaliser of MurmurHash3: every bit of the result depends on every bit of the value."""
    values = values ^ values >> np.uint32(16)
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ values >> np.uint32(13)
    values = values * np.uint32(0xC2B2AE35)
    return values ^ values >> np.uint32(16)
