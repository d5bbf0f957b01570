"""EIE, cycle by cycle: compressed matrix times sparse vector on elements that walk the same columns at their own pace.

Han et al., EIE, ISCA 2016. What the paper leaves open is settled here, once; `tests/sim/eie_reference.py` builds the
same machine register by register, and both must agree in every cycle.

A cycle's decisions depend on the registers at its start; all registers change at its end. Of n elements, each has:

*Leading non-zero detector* (one for all). A register holds one row of the input vector, an activation of each
element. In a cycle it sends the first non-zero that is left in the row to the queues of all elements, unless one of
them is full. If none is left, or the one being sent is in the row's last place, the next row is loaded. So a row costs
a cycle of its own unless the row before ended with a non-zero. The register starts empty: cycle 0 loads row 0.

*Queue.* A ring of q places: full with q - 1 activations in it, because equal read and write positions mean empty. An
activation leaves when its column has been walked: the multiplier takes its value from the queue's head.

*Pointer unit.* Reads where the column of the next activation in the queue begins and ends (two banks, one cycle) into
a register, when that is empty or taken in this cycle.

*Matrix unit.* A register holds begin and end of the column that is being walked; each cycle gives one entry to the
arithmetic unit. A column without entries takes a cycle, too. In its last cycle the next column is taken over from the
pointer register. Entries come from memory words that hold several; a word is read once while the walk stays in it.

*Arithmetic unit.* `ARITHMETIC_STAGES` registers: decode the weight and add up the row's address; read the accumulator
and multiply; add; write. Accumulators that are needed again at once are bypassed, so nothing ever stalls here.

A layer ends when no register, queue or row holds anything. Vectors (images, pixels of a 1x1 convolution) follow one
another without overlap, since the accumulators are written back in between.

With b[j] the cycle in which activation j is sent, s[j, p] the one in which element p takes over its column of n[j, p]
entries, and e[j, p] the last one of the walk,

    b[j] = max(b[j-1] + 1 + rows loaded meanwhile, 1 + max over p of e[j-q+1, p])
    s[j, p] = max(b[j] + 2, e[j-1, p])
    e[j, p] = s[j, p] + max(1, n[j, p]).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compressed import Compressed, Mask, Numbers

ARITHMETIC_STAGES = 4
"""Registers between an entry and its accumulator: Han et al., section VI."""

_FROM_QUEUE = 2
"""Cycles from an activation's broadcast to the takeover of its column: pointer read, takeover."""

_AT_ONCE = 1 << 20
"""Elements times vectors that are computed together."""


@dataclass(frozen=True, eq=False)
class EieCycles:
    """How the vectors run, [vectors] each; cycles but `total_cycles` and `full_cycles` are summed over all elements.

    An element spends `entry_cycles` on entries and `empty_cycles` on columns without any. The rest it waits:
    `imbalance_cycles` because other elements are behind (the activation that it waits for was held back by a full
    queue, or was the last), and otherwise because the detector has not found the next non-zero yet, or the pipeline
    fills or drains. In `full_cycles` an activation could not be sent. `word_reads` are of the matrix memories.
    """

    elements: int
    total_cycles: Numbers
    entry_cycles: Numbers
    empty_cycles: Numbers
    imbalance_cycles: Numbers
    full_cycles: Numbers
    broadcasts: Numbers
    word_reads: Numbers

    @property
    def theoretical_cycles(self) -> NDArray[np.float64]:
        """Cycles if all elements were always busy: entries, fillers included, over elements."""
        return np.asarray(self.entry_cycles / self.elements, np.float64)

    @property
    def utilisation(self) -> float:
        """Share of the elements' cycles that is spent on entries."""
        return float(self.entry_cycles.sum()) / max(1, self.elements * int(self.total_cycles.sum()))


@dataclass(frozen=True, eq=False)
class _Times:
    """What depends on time, [vectors] each."""

    total: Numbers
    imbalance: Numbers
    full: Numbers


def run_vectors(matrix: Compressed, live: Mask, queue_places: int, word_entries: int) -> EieCycles:
    """Run all vectors, `live` [vectors, columns] saying which activations are not zero.

    A word of the matrix memory holds `word_entries` entries.
    """
    assert live.shape[1] == matrix.columns and queue_places > 1
    broadcasts = live.sum(axis=1)
    by_length = np.argsort(-broadcasts, kind="stable")
    times = _Times(*(np.empty(len(live), np.int64) for _ in range(3)))
    step = max(1, _AT_ONCE // matrix.elements)
    for part in (by_length[at : at + step] for at in range(0, len(live), step)):
        found = _run(matrix, live[part], broadcasts[part], queue_places)
        times.total[part], times.imbalance[part], times.full[part] = found.total, found.imbalance, found.full
    return EieCycles(
        elements=matrix.elements,
        total_cycles=times.total,
        entry_cycles=live @ matrix.entries.sum(axis=1),
        empty_cycles=live @ (matrix.entries == 0).sum(axis=1),
        imbalance_cycles=times.imbalance,
        full_cycles=times.full,
        broadcasts=broadcasts,
        word_reads=_word_reads(matrix, live, word_entries),
    )


def _run(matrix: Compressed, live: Mask, broadcasts: Numbers, queue_places: int) -> _Times:
    """The vectors come in descending order of their broadcasts.

    Step k is the k-th activation of every vector. Those that have no more are at the end and stay as they are.
    """
    room, shape = queue_places - 1, (len(live), matrix.elements)
    order = np.argsort(~live, axis=1, kind="stable")[:, : int(broadcasts[0])]
    loads = _row_loads(order, matrix.elements)
    walk_cycles, has_entries = np.maximum(matrix.entries, 1), matrix.entries > 0
    sent, done = np.full(len(live), -1), np.full((room, len(live)), -1)
    full, imbalance = np.zeros(len(live), np.int64), np.zeros(len(live), np.int64)
    walked, last_entry = np.full(shape, -1), np.full(shape, -ARITHMETIC_STAGES)
    running = len(live)
    for k in range(order.shape[1]):
        while broadcasts[running - 1] <= k:
            running -= 1
        column, walk = order[:running, k], walked[:running]
        free = sent[:running] + 1 + loads[:running, k]
        now = np.maximum(free, done[k % room, :running] + 1)
        held = now - free
        full[:running] += held
        sent[:running] = now
        start = np.maximum(walk, now[:, None] + _FROM_QUEUE)
        imbalance[:running] += np.minimum(start - walk, held[:, None]).sum(axis=1)
        np.add(start, walk_cycles[column], out=walk)
        done[k % room, :running] = walk.max(axis=1)
        np.copyto(last_entry[:running], walk, where=has_entries[column])
    scanned = sent + _rows_after(order, broadcasts, matrix.columns, matrix.elements)
    drained = np.maximum(walked, last_entry + ARITHMETIC_STAGES).max(axis=1)
    imbalance += (walked.max(axis=1)[:, None] - walked).sum(axis=1)
    return _Times(1 + np.maximum(scanned, np.where(broadcasts > 0, drained, -1)), imbalance, full)


def _word_reads(matrix: Compressed, live: Mask, word_entries: int) -> Numbers:
    """Words that the walks of each vector read in all elements; where two columns meet in a word, it is read once."""
    ends = np.cumsum(matrix.entries, axis=0)
    first, last = (ends - matrix.entries) // word_entries, (ends - 1) // word_entries
    reads = np.empty(len(live), np.int64)
    for vector, mask in enumerate(live):
        has_entries = matrix.entries[mask] > 0
        begin, end = first[mask], np.where(has_entries, last[mask], -1)
        before = np.maximum.accumulate(np.concatenate((np.full((1, matrix.elements), -1), end)))[:-1]
        reads[vector] = ((end - begin + (begin != before)) * has_entries).sum()
    return reads


def _row_loads(order: Numbers, elements: int) -> Numbers:
    """Cycles before each activation that only load a row. `order` [vectors, activations] has their columns."""
    row = order // elements
    loads = np.diff(row, axis=1, prepend=-1)
    ends_row = order[:, :-1] % elements == elements - 1
    loads[:, 1:] -= ends_row & (loads[:, 1:] > 0)
    return loads


def _rows_after(order: Numbers, broadcasts: Numbers, columns: int, elements: int) -> Numbers:
    """Cycles after the last activation that load rows without any, until none is left."""
    rows = -(-columns // elements)
    last = np.full(len(order), -1)
    some = broadcasts > 0
    last[some] = order[some, broadcasts[some] - 1]
    after = rows - 1 - np.where(some, last // elements, -1)
    return np.asarray(after - ((last % elements == elements - 1) & some & (after > 0)), np.int64)
