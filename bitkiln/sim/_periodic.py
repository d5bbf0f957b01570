"""Can a Plan run with a given interval? If not, which circle of waits needs more cycles than that?

If every image runs like the one before, `interval` cycles later, the times of one image are all there is to find. They
are raised from a lower bound until every wait is kept. That ends, unless some circle of waits takes more cycles than
`interval` for each image that it goes back; then events raise each other round the circle, and it is found there.
Much cheaper than `Recurrence`, which follows images from the first one on until they repeat, however long that takes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from bitkiln.ir.units import Steps

from ._network import Edge, Link, Network

_NOTHING, _STEP, _WRAP = -1, -2, -3
"""What raised an event, if not an edge: nothing, the event before it, the last event of the image before."""

SWEEPS = 16
"""A circle is looked for after 1, 2, 4, 8 sweeps over all sequencers, then after every so many."""


@dataclass(frozen=True)
class Circle:
    """Waits that come round after `images` images and take `cycles` cycles; `queues` are those that are full on it."""

    queues: frozenset[str]
    cycles: int
    images: int


@dataclass(frozen=True, eq=False)
class _Wait:
    """An edge as what it means for delays: that of `at` is at least that of the source's `cause` and `gap` more."""

    edge: Edge
    at: Steps | slice
    cause: Steps | slice
    gap: Steps


class PeriodicSchedule:
    """The times of one image with which every image can run `interval` cycles after the one before.

    Units run on their own until `connect` puts a queue between two of them. `interval` is at least the steps of every
    sequencer.
    """

    def __init__(self, network: Network, interval: int) -> None:
        self.network = network
        self.interval = interval
        self.delays: list[Steps] = [np.zeros(sequencer.events, np.int64) for sequencer in network.sequencers]
        """How much later each event runs than at a step a cycle from cycle 0 on; no less than the event before it.

        Any lower bound will do before `settle`.
        """
        self._waits = [[self._wait(index, edge) for edge in edges] for index, edges in enumerate(network.waits)]
        self._places: dict[tuple[str, int], int] = {}
        self._stale = [set(range(len(waits))) for waits in self._waits]
        self._reasons: list[Steps] = []

    def slower(self, interval: int) -> PeriodicSchedule:
        """Return one without queues for a longer interval, to be settled from these times on."""
        other = PeriodicSchedule(self.network, interval)
        other.delays = self.delays
        return other

    def connect(self, link: Link, depth: int) -> None:
        """Put a queue of `depth` places between two units, or one of another depth than before."""
        data, place = self.network.link_edges(link, depth)
        for index, edge in ((link.consumer, data), (link.producer, place)):
            waits = self._waits[index]
            number = self._places.setdefault((link.stream.name, index), len(waits))
            waits[number : number + 1] = [self._wait(index, edge)]
            self._stale[index].add(number)

    def settle(self) -> Circle | None:
        """Raise times until every wait is kept, or return a circle of waits for which that never ends.

        Then times are too late to be kept for good, yet a lower bound for whatever is tried with them next.
        """
        network, sweep = self.network, 0
        order = [network.source, *range(network.source), network.sink]
        self._reasons = [np.full(sequencer.events, _NOTHING, np.int64) for sequencer in network.sequencers]
        readers = self._readers()
        while any(self._stale):
            for index in order if sweep % 2 == 0 else reversed(order):
                stale, self._stale[index] = self._stale[index], set()
                if stale and self._raise(index, stale):
                    raised = index
                    for target, number in readers[index]:
                        self._stale[target].add(number)
            sweep += 1
            if any(self._stale) and (sweep % SWEEPS == 0 or sweep in (1, 2, 4, 8)):
                circle = self._circle(raised)
                if circle:
                    return circle
        return None

    def _wait(self, index: int, edge: Edge) -> _Wait:
        waiting, source = self.network.sequencers[index], self.network.sequencers[edge.source]
        image, cause = np.divmod(edge.events, edge.period)
        gap = edge.delay + source.at[cause] - waiting.at[edge.at] + image * self.interval
        return _Wait(edge, _plain(edge.at), _plain(cause), gap)

    def _readers(self) -> list[list[tuple[int, int]]]:
        """For each sequencer the waits for its events: the sequencer that waits and the number of the wait there."""
        readers: list[list[tuple[int, int]]] = [[] for _ in self._waits]
        for index, waits in enumerate(self._waits):
            for number, wait in enumerate(waits):
                readers[wait.edge.source].append((index, number))
        return readers

    def _raise(self, index: int, stale: Collection[int]) -> bool:
        """Raise the times of one sequencer as far as these of its waits demand; return whether any rose."""
        delays, reasons, is_raised = self.delays[index], self._reasons[index], False
        for number in sorted(stale):
            wait = self._waits[index][number]
            needed = self.delays[wait.edge.source][wait.cause] + wait.gap
            late = np.flatnonzero(needed > delays[wait.at])
            if len(late):
                at = wait.edge.at[late]
                delays[at], reasons[at] = needed[late], number
                is_raised = True
        if is_raised:
            raised = np.maximum.accumulate(delays)
            reasons[raised > delays] = _STEP
            delays[:] = raised
            self._wrap(index)
        return is_raised

    def _wrap(self, index: int) -> None:
        """The first event comes after the last one of the image before."""
        delays, reasons = self.delays[index], self._reasons[index]
        first = int(delays[-1]) + self.network.sequencers[index].steps - self.interval
        raised = int(np.searchsorted(delays, first))
        if raised:
            delays[:raised] = first
            reasons[0], reasons[1:raised] = _WRAP, _STEP

    def _circle(self, index: int) -> Circle | None:
        """Follow what raised the last event of a sequencer that rose; what comes round would go on for ever."""
        begun = [np.where(own == _STEP, 0, np.arange(len(own))) for own in self._reasons]
        begun = [np.maximum.accumulate(own) for own in begun]
        event = int(np.flatnonzero(self._reasons[index] != _NOTHING)[-1])
        seen: dict[tuple[int, int], int] = {}
        path: list[tuple[str, int, int]] = []
        while (index, event) not in seen:
            seen[index, event] = len(path)
            first, sequencer = int(begun[index][event]), self.network.sequencers[index]
            cycles, reason = int(sequencer.at[event] - sequencer.at[first]), int(self._reasons[index][first])
            if reason == _NOTHING:
                return None
            if reason == _WRAP:
                event = sequencer.events - 1
                path.append(("", cycles + sequencer.steps - int(sequencer.at[event]), 1))
            else:
                edge = self._waits[index][reason].edge
                image, event = divmod(int(edge.events[np.searchsorted(edge.at, first)]), edge.period)
                path.append((edge.queue, cycles + edge.delay, -image))
                index = edge.source
        circle = path[seen[index, event] :]
        cycles, images = sum(cycles for _, cycles, _ in circle), sum(images for _, _, images in circle)
        assert cycles > images * self.interval, (cycles, images, self.interval)
        return Circle(frozenset(queue for queue, _, _ in circle if queue), cycles, images)


def _plain(events: Steps) -> Steps | slice:
    """The slice that the events are, if they are one: those need no gathering."""
    if len(events) and bool((np.diff(events) == 1).all()):
        return slice(int(events[0]), int(events[-1]) + 1)
    return events
