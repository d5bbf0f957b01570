"""Sparse matrix-vector unit: only weights that are not zero take time and memory (after EIE, Han et al., ISCA 2016).

Row r belongs to element r % pe, which keeps its entries column by column. A scanner sends one input after the other to
a queue at each element; an element walks the entries of its column at one a cycle, so elements with few entries run
ahead of others. Accumulators lie in a memory of `rows / pe` words an element.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ._timing import NEVER, InputTiming, OutputTiming, Process, Steps, Wait
from ._unit import Beat, Unit
from .matrix_vector import MatrixVector, Products

REGISTER_PLACES = 4
QUEUE_PLACES = 8


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries of all elements, column after column: `gaps` since the entry before (in rows of the element, from the
    column's beginning), `codes` of the weights. A gap that has no room takes fillers, entries of weight 0.

    counts: [columns, pe].
    """

    gaps: tuple[tuple[int, ...], ...]
    codes: tuple[tuple[int, ...], ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, weights: NDArray[np.int64], pe: int, gap_bits: int) -> Entries:
        most, counts = 1 << gap_bits, np.zeros((weights.shape[1], pe), np.int64)
        gaps: list[tuple[int, ...]] = []
        codes: list[tuple[int, ...]] = []
        for p in range(pe):
            own_gaps: list[int] = []
            own_codes: list[int] = []
            for column, values in enumerate(weights[p::pe].T):
                before, first = -1, len(own_gaps)
                for row in np.flatnonzero(values).tolist():
                    gap = row - before - 1
                    fillers, gap = divmod(gap, most)
                    own_gaps += [most - 1] * fillers + [gap]
                    own_codes += [0] * fillers + [int(values[row])]
                    before = row
                counts[column, p] = len(own_gaps) - first
            gaps.append(tuple(own_gaps))
            codes.append(tuple(own_codes))
        return cls(tuple(gaps), tuple(codes), counts)


@dataclass(frozen=True, eq=False)
class SparseMatrixVector(Unit):
    """Computes what `dense` does. Its `pe` are the elements, its `simd` the inputs of a beat; one is sent a cycle.

    A vector: the accumulators are loaded, a row of all elements a cycle; elements walk; when all have met the mark at
    the vector's end, the rows are given, one of all elements a cycle. `queue_places` inputs wait at each element.
    """

    kind: ClassVar[str] = "sparse_matrix_vector"
    dense: MatrixVector
    gap_bits: int = 4
    queue_places: int = QUEUE_PLACES

    SETTLE: ClassVar[int] = 3
    """Cycles from an element's mark to the first row that may be given: the last products must have arrived."""

    def __post_init__(self) -> None:
        assert self.dense.groups == 1 and self.dense.products is Products.MULTIPLY, self.dense.kind
        assert self.queue_places >= 2 and self.gap_bits >= 1

    @property
    def inputs(self) -> tuple[Beat, ...]:
        return self.dense.inputs

    @property
    def outputs(self) -> tuple[Beat, ...]:
        return self.dense.outputs

    @property
    def multipliers(self) -> int:
        return self.dense.pe

    @cached_property
    def entries(self) -> Entries:
        return Entries.of(self.dense.weights, self.dense.pe, self.gap_bits)

    @cached_property
    def codebook(self) -> tuple[int, ...]:
        """The distinct codes of entries, 0 first: an entry holds an index, which its element decodes."""
        return (0, *sorted({code for codes in self.entries.codes for code in codes} - {0}))

    @property
    def index_bits(self) -> int:
        """Bits of a weight in its entry: an index of the codebook, if that is shorter than the code."""
        return min(max(1, (len(self.codebook) - 1).bit_length()), self.dense.weight_bits)

    @property
    def entry_bits(self) -> int:
        return self.gap_bits + self.index_bits

    @property
    def weight_memory_bits(self) -> int:
        """Entries and, for every column and element, how many there are."""
        counts = self.entries.counts
        return int(counts.sum()) * self.entry_bits + counts.size * int(counts.max()).bit_length()

    @property
    def queue_latency(self) -> int:
        return queue_latency(self.queue_places)

    @property
    def latency(self) -> int:
        """Cycles from giving a row to the output queue: fetch, hold, requantise or compare."""
        return 2 + self.dense.ending_stages

    @cached_property
    def walk_steps(self) -> Steps:
        """[columns + 1, pe]: steps of each element on each column, and on the mark; empty columns take one, too."""
        walks = np.maximum(self.entries.counts, 1)
        return np.concatenate([walks, np.ones((1, self.dense.pe), np.int64)])

    def timing(self) -> tuple[Process, ...]:
        """The scanner, the elements, and last what loads and gives rows."""
        return (self._scanner(), *(self._element(p) for p in range(self.dense.pe)), self._rows())

    @property
    def _items(self) -> int:
        return self.dense.columns + 1

    def _starts(self, p: int) -> Steps:
        """[vectors, columns + 1]: the step of element p that takes each input or mark from the queue."""
        walks = self.walk_steps[:, p]
        within = np.cumsum(walks) - walks
        return np.asarray(np.arange(self.dense.vectors)[:, None] * int(walks.sum()) + within, np.int64)

    def _scanner(self) -> Process:
        unit, items = self.dense, self._items
        item = np.arange(unit.vectors * items, dtype=np.int64)
        vector, column = np.divmod(item, items)
        beat = vector * unit.column_folds + column // unit.simd
        is_input = column < unit.columns
        needs = np.where(is_input & (column % unit.simd == 0), beat, NEVER)
        pops = item[is_input & (column % unit.simd == unit.simd - 1)]
        waits = []
        for p in range(unit.pe):
            starts = self._starts(p).reshape(-1)
            places = np.where(column >= self.queue_places, starts[item - np.minimum(self.queue_places, column)], NEVER)
            # A vector begins when the mark of the one before has left every queue.
            total = int(self.walk_steps[:, p].sum())
            waits.append(Wait(1 + p, np.where(column == 0, vector * total - 1, places), 1))
        return Process(len(item), ((0, InputTiming(needs, pops)),), waits=tuple(waits))

    def _element(self, p: int) -> Process:
        unit, starts = self.dense, self._starts(p)
        steps = unit.vectors * int(self.walk_steps[:, p].sum())
        sent, loaded = np.full(steps, NEVER, np.int64), np.full(steps, NEVER, np.int64)
        sent[starts.reshape(-1)] = np.arange(starts.size)
        loaded[starts[:, 0]] = np.arange(unit.vectors) * 2 * unit.row_folds + unit.row_folds - 1
        last = 1 + unit.pe
        return Process(steps, waits=(Wait(0, sent, self.queue_latency), Wait(last, loaded, 1)))

    def _rows(self) -> Process:
        unit, folds = self.dense, self.dense.row_folds
        steps = unit.vectors * 2 * folds
        vector, within = np.divmod(np.arange(steps, dtype=np.int64), 2 * folds)
        waits = tuple(
            Wait(1 + p, np.where(within == folds, self._starts(p)[vector, -1], NEVER), self.SETTLE)
            for p in range(unit.pe)
        )
        given = np.flatnonzero(within >= folds)
        return Process(steps, outputs=((0, OutputTiming(given, self.latency)),), waits=waits)


def vector_cycles(unit: SparseMatrixVector) -> int:
    """Return about how many cycles a vector takes if its inputs are always there and its results always taken."""
    return walk_cycles(unit.entries.counts, unit.dense.row_folds, unit.queue_places)


def walk_cycles(counts: NDArray[np.int64], row_folds: int, queue_places: int) -> int:
    """Return the cycles of a vector when elements have `counts` [columns, pe] entries in each column.

    Exact but for how the end of one vector meets the beginning of the next.
    """
    items = len(counts) + 1
    starts = np.zeros((items, counts.shape[1]), np.int64)
    sent, free = 0, starts[0] + SparseMatrixVector.SETTLE + 2 * row_folds  # after the vector before
    walks = np.maximum(counts, 1)
    for item in range(items):
        sent = max(sent + 1, int(starts[item - queue_places].max()) + 1 if item >= queue_places else 0)
        starts[item] = np.maximum(free, sent + queue_latency(queue_places))
        free = starts[item] + walks[min(item, len(walks) - 1)]
    return int(starts[-1].max())


def queue_latency(places: int) -> int:
    """Cycles from a step of the scanner to the input's arrival at the head of an empty queue."""
    return 2 if places <= REGISTER_PLACES else 3
