"""What stalls whom: for every cycle of an image, whether a unit steps, and if not, for which other unit it waits.

A unit of several sequencers steps when any of them does. When none does, its wait is that of the sequencer which gives
its output, followed through waits within the unit to the one that comes from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Plan
from bitkiln.ir.units import Steps

from ._network import Network
from ._recurrence import Recurrence, Solution
from ._stalls import Cause, StallFinder, Stalls, Wait, extended_times

MOST_SPANS = 160
"""Spans in which a row of a timeline is given; a row that changes more often is given in as many equal bins."""

TIMELINE_RULE = (
    "A unit is busy in a cycle in which any of its sequencers steps. Otherwise it waits for what comes last of all "
    "that the next step of its output needs: a beat of a unit before it, or room in a queue to one behind it."
)


@dataclass(frozen=True)
class Span:
    """`cycles` cycles in which the unit was busy, or waited, as often as `counts` says: busy first, then each wait."""

    cycles: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Share:
    """One sequencer of a unit, and in how many cycles it stepped and waited for each of the row's waits or its unit."""

    name: str
    busy: int
    waits: tuple[tuple[Wait, int], ...]


@dataclass(frozen=True)
class UnitRow:
    """One unit: `busy` and the cycles of `waits` add up to those of the timeline, and so do the `spans`."""

    unit: str
    busy: int
    waits: tuple[tuple[Wait, int], ...]
    spans: tuple[Span, ...]
    parts: tuple[Share, ...]

    @property
    def stalled(self) -> int:
        return sum(cycles for _, cycles in self.waits)


@dataclass(frozen=True, eq=False)
class Part:
    """One sequencer of a unit."""

    unit: str
    name: str
    stalls: Stalls


@dataclass(frozen=True)
class Window:
    """So many cycles of every unit, the input first, the output last. `images` results leave in them."""

    cycles: int
    images: int
    rows: tuple[UnitRow, ...]


@dataclass(frozen=True)
class Timeline:
    """`first`: from the first input beat to the first result; images behind the first one are in it, too. `steady`: one
    interval when images repeat, from the beat with which an image begins; None if they never do.

    Where the time depends on the image, `samples` were streamed, and `steady` is between the results of two of them.
    """

    first: Window
    steady: Window | None
    samples: int = 0


def plan_timeline(plan: Plan) -> Timeline | None:
    """Return the timeline of a plan whose units take no more or less time for some image than for others.

    None for a plan that was not seen to repeat, and of which too few images were solved to know what all units do until
    the first result. The plan must have a solution: `dataflow_cycles` raises an error if there is none.
    """
    recurrence = Recurrence(Network(plan), {stream.name: stream.depth for stream in plan.streams})
    solution = recurrence.solve()
    assert isinstance(solution, Solution), "dataflow_cycles tells of deadlocks"
    first = _first(recurrence, solution)
    return Timeline(first, _steady(recurrence, solution)) if first else None


def _first(recurrence: Recurrence, solution: Solution) -> Window | None:
    end = int(solution.times[recurrence.network.sink][0, -1]) + 1
    numbers = range(len(solution.times))
    images = max(_images_until(solution, index, end) for index in numbers)
    if images > solution.images and not solution.is_repeating:
        return None
    finder = StallFinder(recurrence, [extended_times(solution, index, images) for index in numbers])
    stalls = [finder.stalls(index, range(images)).within(0, end) for index in numbers]
    return Window(end, 1, unit_rows(_in_order(recurrence.network, stalls), end))


def _images_until(solution: Solution, index: int, end: int) -> int:
    """How many images the sequencer has to be followed for to know all its cycles before `end`."""
    last = solution.times[index][:, -1]
    if int(last[-1]) >= end - 1:
        return int(np.searchsorted(last, end - 1)) + 1
    return len(last) + solution.period * -(-(end - int(last[-1])) // solution.period_cycles)


def _steady(recurrence: Recurrence, solution: Solution) -> Window | None:
    if not solution.is_repeating:
        return None
    cycles = solution.period_cycles
    images = range(solution.images - solution.period, solution.images)
    finder = StallFinder(recurrence, [times.reshape(-1) for times in solution.times])
    origin = int(solution.times[recurrence.network.source][images.start, 0])
    stalls = [finder.stalls(index, images).folded(origin, cycles) for index in range(len(solution.times))]
    return Window(cycles, solution.period, unit_rows(_in_order(recurrence.network, stalls), cycles))


def _in_order(network: Network, stalls: Sequence[Stalls]) -> list[Part]:
    order = (network.source, *range(network.source), network.sink)
    return [Part(network.sequencers[i].stage, network.sequencers[i].name, stalls[i]) for i in order]


def unit_rows(parts: Sequence[Part], cycles: int) -> tuple[UnitRow, ...]:
    """Return a row a unit, in the order of `parts`, whose stalls are those in `cycles` cycles."""
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.unit, []).append(part)
    return tuple(_unit_row(unit, group, cycles) for unit, group in groups.items())


def _unit_row(unit: str, parts: Sequence[Part], cycles: int) -> UnitRow:
    states = _UnitStates([part.stalls for part in parts], cycles)
    totals = states.totals
    used = [kind for kind, total in enumerate(totals[1:]) if total]
    waits = tuple((states.waits[kind], int(totals[1 + kind])) for kind in used)
    spans = states.spans([0, *(1 + kind for kind in used)])
    shares = tuple(_share(part.name, part.stalls, cycles) for part in parts) if len(parts) > 1 else ()
    return UnitRow(unit, int(totals[0]), waits, spans, shares)


def _share(name: str, part: Stalls, cycles: int) -> Share:
    totals = np.bincount(part.kinds, part.lengths, len(part.waits)).astype(np.int64).tolist()
    waits = tuple((wait, total) for wait, total in zip(part.waits, totals, strict=True) if total)
    return Share(name, cycles - sum(totals), waits)


class _UnitStates:
    """What a unit does in each run of cycles: state 0 is busy, state 1 + i waits for `waits[i]`."""

    def __init__(self, parts: Sequence[Stalls], cycles: int) -> None:
        self.cycles = cycles
        self.waits = tuple(dict.fromkeys(wait for part in parts for wait in part.waits))
        edges = [part.starts for part in parts] + [part.starts + part.lengths for part in parts]
        self.starts = np.unique(np.concatenate([np.zeros(1, np.int64), *edges]))
        self.starts = self.starts[self.starts < cycles]
        self.lengths = np.diff(self.starts, append=cycles)
        self.states = self._resolved([self._of(part) for part in parts])

    def _of(self, part: Stalls) -> Steps:
        """The state of one sequencer in each run."""
        states = np.zeros(len(self.starts), np.int64)
        if len(part.starts):
            stall = np.searchsorted(part.starts, self.starts, side="right") - 1
            is_in = (stall >= 0) & (self.starts < (part.starts + part.lengths)[stall])
            number = np.array([1 + self.waits.index(wait) for wait in part.waits])
            states[is_in] = number[part.kinds[stall[is_in]]]
        return states

    def _resolved(self, parts: Sequence[Steps]) -> Steps:
        """The state of the unit: that of its last sequencer, followed to what it waits for in the unit."""
        every = np.stack(parts)
        part_of = np.array([-1, *(wait.part if wait.cause is Cause.UNIT else -1 for wait in self.waits)])
        state = every[-1].copy()
        for _ in parts:
            inner = np.flatnonzero(part_of[state] >= 0)
            state[inner] = every[part_of[state[inner]], inner]
        is_busy = (every == 0).any(0)
        return np.where(is_busy, 0, state)

    @property
    def totals(self) -> NDArray[np.int64]:
        return _sums(self.states, self.lengths, 1 + len(self.waits))

    def spans(self, shown: Sequence[int]) -> tuple[Span, ...]:
        """The runs, or equal bins if there are many; counts of the states `shown`."""
        changes = np.flatnonzero(np.diff(self.states, prepend=-1))
        if len(changes) <= MOST_SPANS:
            lengths = np.diff(self.starts[changes], append=self.cycles).tolist()
            return tuple(
                Span(length, tuple(length if state == kind else 0 for kind in shown))
                for length, state in zip(lengths, self.states[changes].tolist(), strict=True)
            )
        bounds = np.arange(MOST_SPANS + 1, dtype=np.int64) * self.cycles // MOST_SPANS
        starts = np.unique(np.concatenate([self.starts, bounds[:-1]]))
        lengths = np.diff(starts, append=self.cycles)
        states = self.states[np.searchsorted(self.starts, starts, side="right") - 1]
        bins = np.searchsorted(bounds, starts, side="right") - 1
        size = 1 + len(self.waits)
        counts = _sums(bins * size + states, lengths, MOST_SPANS * size).reshape(MOST_SPANS, size)[:, list(shown)]
        return tuple(
            Span(length, tuple(row)) for length, row in zip(np.diff(bounds).tolist(), counts.tolist(), strict=True)
        )


def _sums(groups: Steps, values: Steps, size: int) -> NDArray[np.int64]:
    """Sum `values` by group, exactly."""
    result = np.zeros(size, np.int64)
    np.add.at(result, groups, values)
    return result
