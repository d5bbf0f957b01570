"""In which cycles a sequencer does not step, and what it waits for in them.

A step that comes later than the cycle after the one before it waited for what came last of all that it needs. Of
several that came at once, its own unit is named before an input, and an input before room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bitkiln.ir.units import Steps

from ._network import Edge
from ._recurrence import Recurrence, Solution


class Cause(StrEnum):
    """What is waited for: another part of the unit, a beat of a unit before it, a place in a queue to one behind it."""

    UNIT = "unit"
    INPUT = "input"
    ROOM = "room"


RANK = {cause: rank for rank, cause in enumerate(Cause)}


@dataclass(frozen=True)
class Wait:
    """`of` is the unit that is waited for, `stream` what joins them; `part` is which sequencer of the own unit."""

    cause: Cause
    of: str
    stream: str = ""
    part: int = 0


@dataclass(frozen=True, eq=False)
class Stalls:
    """Stall i takes `lengths[i]` cycles from `starts[i]` on, for `waits[kinds[i]]`; in all others there is a step.

    Starts rise, and stalls do not overlap.
    """

    waits: tuple[Wait, ...]
    starts: Steps
    lengths: Steps
    kinds: Steps

    def within(self, begin: int, end: int) -> Stalls:
        """Cut to the cycles from `begin` to before `end`, counted from `begin`."""
        starts, ends = np.maximum(self.starts, begin), np.minimum(self.starts + self.lengths, end)
        inside = starts < ends
        return Stalls(self.waits, starts[inside] - begin, (ends - starts)[inside], self.kinds[inside])

    def folded(self, origin: int, cycles: int) -> Stalls:
        """The same stalls, which all lie within `cycles` cycles and are repeated for ever, from cycle `origin` on."""
        starts = (self.starts - origin) % cycles
        over = np.maximum(starts + self.lengths - cycles, 0)
        wrapped = np.flatnonzero(over)
        starts = np.concatenate([np.zeros(len(wrapped), np.int64), starts])
        lengths = np.concatenate([over[wrapped], self.lengths - over])
        kinds = np.concatenate([self.kinds[wrapped], self.kinds])
        order = np.argsort(starts, kind="stable")
        return Stalls(self.waits, starts[order], lengths[order], kinds[order])


def joined_stalls(images: Sequence[Stalls]) -> Stalls:
    """Return the stalls of one sequencer in images one behind the other."""
    starts, lengths, kinds = (
        np.concatenate(parts) for parts in zip(*((s.starts, s.lengths, s.kinds) for s in images), strict=True)
    )
    return Stalls(images[0].waits, starts, lengths, kinds)


class StallFinder:
    """The stalls of a solved network; `times[s]` are the cycles of all events of sequencer s, image after image."""

    def __init__(self, recurrence: Recurrence, times: Sequence[Steps]) -> None:
        self._sequencers = recurrence.network.sequencers
        self._edges = recurrence.edges
        self._times = times

    def stalls(self, index: int, images: range) -> Stalls:
        """Return those of one sequencer in these images."""
        sequencer, own = self._sequencers[index], self._times[index]
        first, last = images.start * sequencer.events, images.stop * sequencer.events
        times = own[first:last]
        before = np.concatenate([own[first - 1 : first] if first else [-1], times[:-1]])
        free = before + np.tile(np.diff(sequencer.at, prepend=-1), len(images))
        late = np.flatnonzero(times > free)
        waits = [self._wait(index, edge) for edge in self._edges[index]]
        kinds = np.full(len(times), -1, np.int64)
        # What comes first in the order of causes is written last, and stands.
        for number in sorted(range(len(waits)), key=lambda number: (RANK[waits[number].cause], number), reverse=True):
            for row, image in enumerate(images):
                tight = self._tight(index, self._edges[index][number], image)
                kinds[row * sequencer.events + tight] = number
        assert bool((kinds[late] >= 0).all()), f"a step of {sequencer.stage} is late for no reason"
        return Stalls(tuple(waits), free[late], (times - free)[late], kinds[late])

    def _wait(self, index: int, edge: Edge) -> Wait:
        other = self._sequencers[edge.source].stage
        if edge.queue:
            return Wait(Cause.ROOM, other, edge.queue)
        if edge.stream:
            return Wait(Cause.INPUT, other, edge.stream)
        first = next(i for i, sequencer in enumerate(self._sequencers) if sequencer.stage == other)
        return Wait(Cause.UNIT, other, part=edge.source - first)

    def _tight(self, index: int, edge: Edge, image: int) -> Steps:
        """The events of the image that ran as soon as the edge let them."""
        causes = edge.events + image * edge.period
        allowed = self._times[edge.source][np.maximum(causes, 0)] + edge.delay
        own = self._times[index][image * self._sequencers[index].events + edge.at]
        tight: Steps = edge.at[(causes >= 0) & (allowed == own)]
        return tight


def extended_times(solution: Solution, index: int, images: int) -> Steps:
    """Return the cycles of all events of one sequencer in the first `images` images, those that repeat included."""
    times = solution.times[index]
    extra = np.arange(max(0, images - len(times)))
    pattern, repeat = extra % solution.period - solution.period, extra // solution.period + 1
    later = times[pattern] + solution.period_cycles * repeat[:, None]
    every: Steps = np.concatenate([times[:images], later]).reshape(-1)
    return every
