"""Numbers that are declared equal, in bulk: a union-find over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

PINNED = 0
"""The number of what must stay; whatever is joined with it stays, too."""


class Units:
    """Whole numbers from 0, of which some stand for the same unit; the smallest of them is its own number."""

    def __init__(self) -> None:
        self._parents = np.zeros(1, np.int64)

    @property
    def count(self) -> int:
        """One more than the largest number."""
        return len(self._parents)

    def fresh(self, count: int) -> Labels:
        """Return `count` new numbers."""
        new = np.arange(self.count, self.count + count)
        self._parents = np.concatenate([self._parents, new])
        return new

    def find(self, labels: Labels) -> Labels:
        """Return the number of the unit that each label stands for."""
        roots = self._parents[labels]
        while not np.array_equal(above := self._parents[roots], roots):
            roots = above
        self._parents[labels] = roots
        return roots

    def join(self, a: Labels, b: Labels) -> None:
        """Declare equal, element by element; the shapes broadcast."""
        pairs = np.stack([array.reshape(-1) for array in np.broadcast_arrays(self.find(a), self.find(b))], axis=1)
        for first, second in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist():
            roots = self.find(np.array([first, second]))
            self._parents[roots.max()] = roots.min()

    def pin(self, labels: Labels) -> None:
        """Declare that these units stay."""
        self.join(labels, np.zeros(1, np.int64))
