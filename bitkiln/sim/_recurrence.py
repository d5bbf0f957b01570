"""Solves the network of a Plan: the least cycles that keep every constraint, image after image until they repeat.

Images are solved one after the other, because no step waits for a later image. Arrays of event times are raised from a
lower bound, sequencer by sequencer with a prefix maximum, until nothing changes. Where that settles slowly (a queue so
short that each beat waits for the one before) or never (deadlock), events are solved one by one instead; the least
solution is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bitkiln.ir.units import Steps

from ._events import Deadlock, EventByEvent
from ._network import Edge, Network

MIN_IMAGES, MAX_IMAGES = 64, 1024
MAX_EVENTS = 20_000_000
"""A plan that does not repeat is solved for as many images as have this many events, within those bounds."""

MAX_PERIOD = 12
"""Images in the longest pattern that is looked for. Queues that hold no whole number of images make such patterns."""

MAX_SWEEPS = 40
"""Sweeps over all sequencers before an image is solved event by event, which costs about as much."""


@dataclass(frozen=True, eq=False)
class Solution:
    """`times[s]` has [images, events] of sequencer s: the images up to where they repeat.

    Each later image is the one `period` images before it, moved by `period_cycles`; if not `is_repeating`, images were
    solved in vain until they do, and the last two stand for all that follow.
    """

    times: tuple[Steps, ...]
    period: int
    period_cycles: int
    is_repeating: bool

    @property
    def images(self) -> int:
        return len(self.times[0])


class Recurrence:
    """One network with given depths of its queues."""

    def __init__(self, network: Network, depths: Mapping[str, int]) -> None:
        self.network = network
        self.edges: list[list[Edge]] = network.edges(depths)
        self._lookback = 1 + max((edge.lookback for edges in self.edges for edge in edges), default=0)
        self._times = [np.empty(0, np.int64) for _ in network.sequencers]
        self._shifts: list[int] = []
        self._readers: list[set[int]] = [set() for _ in network.sequencers]
        for target, edges in enumerate(self.edges):
            for edge in edges:
                if edge.source != target:
                    self._readers[edge.source].add(target)

    def solve(self) -> Solution | Deadlock:
        """Solve images until as many as any event looks back repeat earlier ones, all by the same distance.

        Where none do (a fast part of the plan that fills its queues over very many images), the last two images stand
        for all that follow.
        """
        events = sum(sequencer.events for sequencer in self.network.sequencers)
        repeats, distances = [0] * (MAX_PERIOD + 1), [-1] * (MAX_PERIOD + 1)
        for image in range(min(max(MIN_IMAGES, MAX_EVENTS // events), MAX_IMAGES)):
            deadlock = self._solve_image(image)
            if deadlock is not None:
                return deadlock
            for period in range(1, min(image, MAX_PERIOD) + 1):
                distance = self._distance(image, period)
                is_same = distance >= 0 and distance == distances[period]
                repeats[period] = repeats[period] + 1 if is_same else int(distance >= 0)
                distances[period] = distance
                if repeats[period] >= self._lookback:
                    return self._solution(image + 1, period, distance, True)
        last = [int(self._image(self.network.sink, number)[-1]) for number in (image - 1, image)]
        return self._solution(image + 1, 1, last[1] - last[0], False)

    def _solution(self, images: int, period: int, period_cycles: int, is_repeating: bool) -> Solution:
        times = tuple(
            times[: images * sequencer.events].reshape(images, -1)
            for times, sequencer in zip(self._times, self.network.sequencers, strict=True)
        )
        return Solution(times, period, period_cycles, is_repeating)

    def _image(self, index: int, image: int) -> Steps:
        """The times of one sequencer in one image."""
        events = self.network.sequencers[index].events
        return self._times[index][image * events : (image + 1) * events]

    def _distance(self, image: int, period: int) -> int:
        """How much later than `period` images before all events of `image` run, or -1 if not all alike."""
        distance = int(self._image(0, image)[0] - self._image(0, image - period)[0])
        for index in range(len(self._times)):
            if bool((self._image(index, image) - self._image(index, image - period) != distance).any()):
                return -1
        return distance

    def _solve_image(self, image: int) -> Deadlock | None:
        shift = self._least_shift(image)
        for index, sequencer in enumerate(self.network.sequencers):
            if len(self._times[index]) < (image + 1) * sequencer.events:
                room = np.empty((image + 1) * sequencer.events, np.int64)  # twice as much as before
                self._times[index] = np.concatenate([self._times[index], room])
            fresh = self._image(index, image)
            if image:
                last = self._image(index, image - 1)
                np.maximum(last[-1] + 1 + sequencer.at, last + shift, out=fresh)
            else:
                fresh[:] = sequencer.at
        if self._sweep(image):
            return None
        kept = min(image, self._lookback)
        known = [
            times[(image - kept) * sequencer.events : image * sequencer.events]
            for times, sequencer in zip(self._times, self.network.sequencers, strict=True)
        ]
        solved = EventByEvent(self.network, self.edges, known, kept).solve()
        if isinstance(solved, Deadlock):
            return solved
        for index, times in enumerate(solved):
            self._image(index, image)[:] = times
        return None

    def _least_shift(self, image: int) -> int:
        """A distance by which no event of `image` can be nearer to the one in the image before.

        If all events of as many images as any edge looks back come at least so much later than in the image before,
        then so do those that follow from them.
        """
        if image > 1:
            moved = (self._image(i, image - 1) - self._image(i, image - 2) for i in range(len(self._times)))
            self._shifts.append(min(int(shift.min()) for shift in moved))
        return min(self._shifts[-self._lookback :], default=0)

    def _sweep(self, image: int) -> bool:
        """Raise the times of `image` until nothing changes; False if that takes too long."""
        order = [self.network.source, *range(self.network.source), self.network.sink]
        dirty = set(order)
        for sweep in range(MAX_SWEEPS):
            for index in order if sweep % 2 == 0 else reversed(order):
                if index in dirty:
                    dirty.discard(index)
                    if self._raise(index, image):
                        dirty |= self._readers[index]
            if not dirty:
                return True
        return False

    def _raise(self, index: int, image: int) -> bool:
        """Recompute one sequencer's times of `image`; return whether any rose."""
        sequencer = self.network.sequencers[index]
        current = self._image(index, image)
        bound = current - sequencer.at
        for edge in self.edges[index]:
            at, events = edge.at, edge.events + image * edge.period
            if image < edge.lookback:
                at, events = at[events >= 0], events[events >= 0]
            waited = self._times[edge.source][events] + edge.delay - sequencer.at[at]
            bound[at] = np.maximum(bound[at], waited)
        raised = np.maximum.accumulate(bound) + sequencer.at
        if bool((raised == current).all()):
            return False
        current[:] = raised
        return True
