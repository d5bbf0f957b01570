"""Shared weights back to values: indices into a table of centroids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir.numbers import Codebook, Int
from bitkiln.ir.types import TensorType

from ._base import Op, expect, expect_count


class SharedWeights(Op):
    """A weight that is computed from a table, whose entries several of its elements share. All arguments are constant;
    the first one has the weight's name."""

    def batched(self, *args: TensorType) -> tuple[bool, ...]:
        return (False,) * len(args)


@dataclass(frozen=True)
class Decode(SharedWeights):
    """Each index replaced by its entry of the table. Arguments, both constant: codebook(b)[...], entries [2^b].

    With `has_zero` index 0 means 0, and the table [2^b - 1] begins with what index 1 means: pruned weights stay 0 while
    the table is trained. The table's gradient is the sum over all weights that share an entry. One table may serve
    several layers.

    >>> Decode(has_zero=True).evaluate(torch.tensor([[0.0, 2.0, 3.0]]), torch.tensor([0.5, 0.25, -1.0])).tolist()
    [[0.0, 0.25, -1.0]]
    """

    name: ClassVar[str] = "decode"
    has_zero: bool = False

    def infer(self, *args: TensorType) -> TensorType:
        expect_count("decode", args, 2)
        indices, table = args
        number = indices.number
        expect(isinstance(number, Codebook), f"decode takes the indices of a codebook, not {indices}")
        assert isinstance(number, Codebook)
        entries = (1 << number.index_bits) - self.has_zero
        expect(
            table == TensorType((entries,), number.entries),
            f"decode of {number} takes a table of {entries} such entries, not {table}",
        )
        expect(
            not (isinstance(number.entries, Int) and number.entries.axis is not None),
            f"decode takes entries of one point, not {number.entries}",
        )
        return TensorType(indices.shape, number.entries)

    def evaluate(self, *args: Tensor) -> Tensor:
        indices, table = args
        entries = torch.cat([table.new_zeros(1), table]) if self.has_zero else table
        return entries.index_select(0, indices.reshape(-1).to(torch.int32)).reshape(indices.shape)

    @property
    def trained(self) -> tuple[int, ...]:
        return (1,)
