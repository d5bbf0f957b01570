"""Weights from shared sub-vectors: product and residual quantisation (Gong et al. 2014, arXiv 1412.6115)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Codebook, Float
from bitkiln.ir.types import TensorType

from ._base import expect, expect_count, require, require_between
from .decode import SharedWeights


@dataclass(frozen=True)
class DecodeVectors(SharedWeights):
    """A weight of `shape` from the sum of table entries, each `dimension` elements long.

    The weight is a matrix with a row an output, shape[0], and the rest of its axes as K columns, cut into ceil(K /
    dimension) segments; what the last one has too much is dropped. Arguments: codebook(b)[R, rows, segments], the R
    indices whose entries are added up for each segment, and entries [R * T * 2^b * dimension]: for each of R levels T
    codebooks, one a segment, or one for all segments if `is_common`. The table's gradient is the sum over all weights
    that share an entry.

    >>> op = DecodeVectors((1, 4), 2, is_common=True)
    >>> op.evaluate(torch.tensor([[[1.0, 0.0]]]), torch.tensor([0.5, 0.25, -1.0, 2.0])).tolist()
    [[-1.0, 2.0, 0.5, 0.25]]
    """

    name: ClassVar[str] = "decode_vectors"
    shape: tuple[int, ...]
    dimension: int
    is_common: bool = False

    def __post_init__(self) -> None:
        TensorType(self.shape, Float())  # raises what is wrong with a shape
        require(len(self.shape) >= 2, f"decode_vectors makes weights of 2 or more axes, not {list(self.shape)}")
        require_between("dimension of decode_vectors", (self.dimension,), 1)

    @property
    def segments(self) -> int:
        """Sub-vectors of a row."""
        return -(-math.prod(self.shape[1:]) // self.dimension)

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("decode_vectors", args, 2)
        indices, table = args
        number = indices.number
        expect(isinstance(number, Codebook), f"decode_vectors takes the indices of a codebook, not {indices}")
        assert isinstance(number, Codebook)
        wanted = (self.shape[0], self.segments)
        expect(
            len(indices.shape) == 3 and indices.shape[1:] == wanted,
            f"decode_vectors to {list(self.shape)} takes indices [levels, {wanted[0]}, {wanted[1]}], "
            f"not {list(indices.shape)}",
        )
        codebooks = indices.shape[0] * (1 if self.is_common else self.segments)
        entries = (codebooks << number.index_bits) * self.dimension
        expect(
            isinstance(number.entries, Float) and table == TensorType((entries,), number.entries),
            f"decode_vectors of {number} takes a table of {entries} floats, not {table}",
        )
        return TensorType(self.shape, number.entries)

    def evaluate(self, *args: Tensor) -> Tensor:
        indices, table = args
        levels, rows, segments = indices.shape
        entries = table.reshape(levels, 1 if self.is_common else segments, -1, self.dimension)
        first = torch.arange(entries.shape[1]) * entries.shape[2]  # of each codebook of a level
        total = table.new_zeros(rows * segments, self.dimension)
        for level in range(levels):
            places = (indices[level].to(torch.int64) + first).reshape(-1)
            total = total + entries[level].reshape(-1, self.dimension).index_select(0, places)
        return total.reshape(rows, -1)[:, : math.prod(self.shape[1:])].reshape(self.shape)

    @property
    def trained(self) -> tuple[int, ...]:
        return (1,)
