"""EIE register by register: slow and obvious, in two phases, with the values it computes.

`decide` looks only at registers as they are at the start of the cycle, `update` changes them at its end. What each unit
does is the text at the top of bitkiln/sim/eie_cycles.py, and nothing of that module is used here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

ARITHMETIC_STAGES = 4
FROM_BROADCAST = 3  # cycles from an activation's broadcast to the first of its walk
ENTRIES_A_WORD = 8


@dataclass(frozen=True)
class Entry:
    """One entry of a column: zeros before it in the element's rows, and its weight (0 for a filler)."""

    zeros: int
    weight: int


def encode(column: Sequence[int], largest_index: int) -> list[Entry]:
    """The entries of one column of one element's rows."""
    entries, zeros = [], 0
    for weight in column:
        if weight:
            entries.append(Entry(zeros, weight))
            zeros = 0
        elif zeros == largest_index:
            entries.append(Entry(zeros, 0))
            zeros = 0
        else:
            zeros += 1
    last = max((number for number, entry in enumerate(entries) if entry.weight), default=-1)
    return entries[: last + 1]


class Detector:
    """The row register and what is left in it."""

    def __init__(self, vector: Sequence[int], elements: int) -> None:
        padded = [*vector, *([0] * (-len(vector) % elements))]
        self.rows = [padded[at : at + elements] for at in range(0, len(padded), elements)]
        self.elements = elements
        self.row = -1  # nothing is loaded yet
        self.place = elements

    @property
    def is_busy(self) -> bool:
        return self.row + 1 < len(self.rows) or self._next() is not None

    def _next(self) -> int | None:
        if self.row < 0:
            return None
        return next((place for place in range(self.place, self.elements) if self.rows[self.row][place]), None)

    def decide(self, is_any_full: bool) -> None:
        found = self._next()
        self.is_held = found is not None and is_any_full
        self.sent = (
            None if found is None or is_any_full else (self.row * self.elements + found, self.rows[self.row][found])
        )
        self.taken = found
        self.loads = found is None or (found == self.elements - 1 and not is_any_full)

    def update(self) -> None:
        if self.sent is not None:
            assert self.taken is not None
            self.place = self.taken + 1
        if self.loads and self.row + 1 < len(self.rows):
            self.row, self.place = self.row + 1, 0


class Queue:
    """A ring with the activations that an element has not finished."""

    def __init__(self, places: int) -> None:
        self.ring: list[tuple[int, int]] = [(0, 0)] * places
        self.write = self.lookup = self.head = 0

    @property
    def is_full(self) -> bool:
        return (self.write + 1) % len(self.ring) == self.head

    @property
    def has_unread(self) -> bool:
        return self.lookup != self.write

    @property
    def is_busy(self) -> bool:
        return self.head != self.write

    def update(self, sent: tuple[int, int] | None, is_read: bool, is_done: bool) -> None:
        if sent is not None:
            self.ring[self.write] = sent
        self.write = (self.write + (sent is not None)) % len(self.ring)
        self.lookup = (self.lookup + is_read) % len(self.ring)
        self.head = (self.head + is_done) % len(self.ring)


class Element:
    """Queue, pointer unit, matrix unit and arithmetic unit."""

    def __init__(self, columns: Sequence[Sequence[int]], rows: int, places: int, largest_index: int) -> None:
        """`columns` [column, local row] are this element's part of the matrix."""
        self.memory: list[Entry] = []
        self.pointers = [0]
        for column in columns:
            self.memory += encode(column, largest_index)
            self.pointers.append(len(self.memory))
        self.queue = Queue(places)
        self.pointer: tuple[int, int] | None = None  # pointer register: begin, end
        self.walk: tuple[int, int] | None = None  # matrix register: position, end
        self.row = 0  # of the entry before, plus one
        self.stages: list[tuple[int, int] | None] = [None] * ARITHMETIC_STAGES
        self.accumulators = [0] * rows
        self.entries = self.empty_columns = self.word_reads = 0
        self.word: int | None = None  # of the memory, as it was read last

    @property
    def is_busy(self) -> bool:
        return self.queue.is_busy or self.pointer is not None or self.walk is not None or any(self.stages)

    def decide(self) -> None:
        self.is_last = self.walk is not None and self.walk[0] + 1 >= self.walk[1]
        self.takes = self.pointer is not None and (self.walk is None or self.is_last)
        self.reads = self.queue.has_unread and (self.pointer is None or self.takes)
        self.product: tuple[int, int] | None = None
        self.given: Entry | None = None
        if self.walk is not None and self.walk[0] < self.walk[1]:
            self.given = self.memory[self.walk[0]]
            activation = self.queue.ring[self.queue.head][1]
            self.product = (self.row + self.given.zeros, self.given.weight * activation)

    def update(self, sent: tuple[int, int] | None) -> None:
        self._count()
        written = self.stages[-1]
        if written is not None:
            self.accumulators[written[0]] += written[1]
        self.stages = [self.product, *self.stages[:-1]]
        if self.product is not None:
            self.row = self.product[0] + 1
        if self.walk is not None:
            self.walk = None if self.is_last else (self.walk[0] + 1, self.walk[1])
        if self.takes:
            self.walk, self.pointer, self.row = self.pointer, None, 0
        if self.reads:
            column = self.queue.ring[self.queue.lookup][0]
            self.pointer = self.pointers[column], self.pointers[column + 1]
        self.queue.update(sent, self.reads, self.is_last)

    def _count(self) -> None:
        if self.walk is None:
            return
        if self.given is None:
            self.empty_columns += 1
            return
        self.entries += 1
        word = self.walk[0] // ENTRIES_A_WORD
        self.word_reads += word != self.word
        self.word = word


@dataclass
class Machine:
    """All of it. `weights` [row][column] and `vector` are integers; `run` gives the cycles."""

    weights: Sequence[Sequence[int]]
    vector: Sequence[int]
    elements: int
    places: int
    index_bits: int
    full_cycles: int = 0
    imbalance_cycles: int = 0
    broadcasts: int = 0
    parts: list[Element] = field(default_factory=list)

    def run(self) -> int:
        detector = Detector(self.vector, self.elements)
        for element in range(self.elements):
            rows = self.weights[element :: self.elements]
            columns = [[row[column] for row in rows] for column in range(len(self.vector))]
            self.parts.append(Element(columns, len(rows), self.places, (1 << self.index_bits) - 1))
        cycles, is_held = 0, [False] * FROM_BROADCAST  # the latest cycle last
        while detector.is_busy or any(part.is_busy for part in self.parts):
            detector.decide(any(part.queue.is_full for part in self.parts))
            for part in self.parts:
                part.decide()
            self.imbalance_cycles += self._behind_others(is_held[0])
            is_held = [*is_held[1:], detector.is_held]
            self.full_cycles += detector.is_held
            self.broadcasts += detector.sent is not None
            for part in self.parts:
                part.update(detector.sent)
            detector.update()
            cycles += 1
        return cycles

    def _behind_others(self, was_held: bool) -> int:
        """Elements that wait as others are behind: the detector was held when it mattered, or all is sent."""
        is_all_sent = self.broadcasts == sum(value != 0 for value in self.vector)
        is_over = is_all_sent and any(part.queue.is_busy for part in self.parts)
        waiting = [part for part in self.parts if part.walk is None]
        return sum(was_held or (is_over and not part.queue.is_busy) for part in waiting)

    @property
    def result(self) -> list[int]:
        return [self.parts[row % self.elements].accumulators[row // self.elements] for row in range(len(self.weights))]
