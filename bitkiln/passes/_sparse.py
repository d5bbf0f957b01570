"""Whether a layer's weights of 0 are skipped, and what that costs at each folding."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir.units import QUEUE_PLACES, MatrixVector, SparseMatrixVector, walk_cycles

MOST_ELEMENTS = 64
"""Each element has memories of its own, so more than so many are never worth it."""

MOST_GAP_BITS = 4
_DENSE_SHARE = 0.25
"""A layer with at most this share of weights is taken as sparse: an entry takes more room and time than a weight."""


class SparseCost:
    """Cycles of a vector by the number of elements, for one matrix [rows, columns]."""

    def __init__(self, weights: NDArray[np.int64]) -> None:
        self.weights = weights
        self.cycles = cache(self._cycles)

    def _cycles(self, pe: int) -> int:
        rows, columns = self.weights.shape
        counts = np.count_nonzero(self.weights.reshape(rows // pe, pe, columns), axis=0).T
        return walk_cycles(counts, rows // pe, QUEUE_PLACES)


def pays_sparse(weights: NDArray[np.int64]) -> bool:
    """True if so few weights are left that one element alone is more than twice as fast as one multiplier."""
    if np.count_nonzero(weights) > _DENSE_SHARE * weights.size:
        return False
    return 2 * SparseCost(weights).cycles(1) <= weights.size


def sparse_unit(dense: MatrixVector, skip_zeros: bool) -> SparseMatrixVector:
    """Return the unit that computes what `dense` does, with gaps of as many bits as there are rows to skip."""
    gap_bits = min(MOST_GAP_BITS, max(1, (dense.row_folds - 1).bit_length()))
    return SparseMatrixVector(dense, gap_bits, skip_zeros=skip_zeros)
