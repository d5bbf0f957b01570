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
    With `skip_zeros` inputs of 0 are not sent: of a beat, those that are not take a cycle each, one without any takes
    one cycle. How long an image takes then depends on the image.
    """

    kind: ClassVar[str] = "sparse_matrix_vector"
    dense: MatrixVector
    gap_bits: int = 4
    queue_places: int = QUEUE_PLACES
    skip_zeros: bool = False

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
        column_bits = int(counts.max()).bit_length()
        if self.skip_zeros:  # where a column begins is no longer where the one before ended
            column_bits += max(len(codes) for codes in self.entries.codes).bit_length()
        return int(counts.sum()) * self.entry_bits + counts.size * column_bits

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
        """The scanner, the elements, and last what loads and gives rows; no input is skipped."""
        return _Walk(self, np.ones((self.dense.vectors, self.dense.columns), bool)).processes

    def timing_of(self, image: NDArray[np.int64]) -> tuple[Process, ...]:
        """The same for the codes of one image, in stream order."""
        if not self.skip_zeros:
            return self.timing()
        return _Walk(self, image.reshape(self.dense.vectors, self.dense.columns) != 0).processes


class _Walk:
    """One image: which inputs are `live` [vectors, columns], at which step each is sent, and where elements meet it.

    An item is an input that is sent, or the mark behind the last one of a vector.
    """

    def __init__(self, unit: SparseMatrixVector, live: NDArray[np.bool_]) -> None:
        self.unit, dense = unit, unit.dense
        of_beat = live.reshape(dense.vectors, dense.column_folds, dense.simd)
        beat_steps = np.maximum(of_beat.sum(2), 1)
        self.scans = beat_steps.sum(1) + 1
        self.first_scan = np.cumsum(self.scans) - self.scans
        before = np.cumsum(beat_steps, 1) - beat_steps
        self.beat_first = self.first_scan[:, None] + before
        self.beat_last = self.beat_first + beat_steps - 1
        sent = self.beat_first[:, :, None] + np.cumsum(of_beat, 2) - 1
        self.items = live.sum(1) + 1
        self.first_item = np.cumsum(self.items) - self.items
        marks = self.first_item + self.items - 1
        self.scan_of_item = np.empty(int(self.items.sum()), np.int64)
        is_mark = np.zeros(len(self.scan_of_item), bool)
        is_mark[marks] = True
        self.scan_of_item[~is_mark] = sent.reshape(live.shape)[live]
        self.scan_of_item[is_mark] = self.first_scan + self.scans - 1
        column = np.full(len(self.scan_of_item), dense.columns, np.int64)
        column[~is_mark] = np.nonzero(live)[1]
        walks = unit.walk_steps[column]
        self.ends = np.cumsum(walks, 0)
        self.starts = self.ends - walks
        self.marks = marks

    @property
    def processes(self) -> tuple[Process, ...]:
        return (self._scanner(), *(self._element(p) for p in range(self.unit.dense.pe)), self._rows())

    def _scanner(self) -> Process:
        unit, steps = self.unit, int(self.scans.sum())
        needs = np.full(steps, NEVER, np.int64)
        needs[self.beat_first.reshape(-1)] = np.arange(self.beat_first.size)
        item = np.arange(len(self.scan_of_item)) - np.repeat(self.first_item, self.items)
        full = np.flatnonzero(item >= unit.queue_places)
        waits = []
        for p in range(unit.dense.pe):
            steps_waited = np.full(steps, NEVER, np.int64)
            steps_waited[self.scan_of_item[full]] = self.starts[full - unit.queue_places, p]
            # A vector begins when the mark of the one before has left every queue.
            steps_waited[self.first_scan] = np.concatenate([[-1], self.starts[self.marks[:-1], p]])
            waits.append(Wait(1 + p, steps_waited, 1))
        return Process(steps, ((0, InputTiming(needs, self.beat_last.reshape(-1))),), (), tuple(waits), "scanner")

    def _element(self, p: int) -> Process:
        unit, folds = self.unit.dense, self.unit.dense.row_folds
        steps = int(self.ends[-1, p])
        sent, loaded = np.full(steps, NEVER, np.int64), np.full(steps, NEVER, np.int64)
        sent[self.starts[:, p]] = self.scan_of_item
        loaded[self.starts[self.first_item, p]] = np.arange(unit.vectors) * 2 * folds + folds - 1
        waits = (Wait(0, sent, self.unit.queue_latency), Wait(1 + unit.pe, loaded, 1))
        return Process(steps, waits=waits, name=f"element {p}")

    def _rows(self) -> Process:
        unit, folds = self.unit.dense, self.unit.dense.row_folds
        steps = unit.vectors * 2 * folds
        within = np.arange(steps, dtype=np.int64) % (2 * folds)
        waits = []
        for p in range(unit.pe):
            marks = np.full(steps, NEVER, np.int64)
            marks[within == folds] = self.starts[self.marks, p]
            waits.append(Wait(1 + p, marks, self.unit.SETTLE))
        output = OutputTiming(np.flatnonzero(within >= folds), self.unit.latency)
        return Process(steps, outputs=((0, output),), waits=tuple(waits), name="rows")


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
