"""Solves one image event by event: slower than sweeps over arrays where those settle soon, but never slow."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitkiln.ir.units import Steps

from ._network import Edge, Network


@dataclass(frozen=True)
class Deadlock:
    """Stages (or the source or sink) that wait for each other for ever, and the full queues that they wait for."""

    stages: tuple[str, ...]
    queues: tuple[str, ...]


@dataclass
class _Waiting:
    """One sequencer: the times that it has reached, and for each edge the event that each of its events waits for."""

    times: list[int]
    gaps: list[int]
    edges: list[tuple[list[int], list[int], int]]
    end: int

    blocking: int = -1
    """Which edge holds the next event up, -1 before the start and at the end."""

    def advance(self) -> bool:
        """Run as far as what is waited for has run; return whether that was at all."""
        first = len(self.times) - self.end + len(self.gaps)
        time = self.times[-1] if self.times else 0
        for i in range(first, len(self.gaps)):
            now = time + self.gaps[i]
            for number, (causes, others, delay) in enumerate(self.edges):
                cause = causes[i]
                if cause >= len(others):
                    self.blocking = number
                    return i > first
                if cause >= 0 and others[cause] + delay > now:
                    now = others[cause] + delay
            self.times.append(now)
            time = now
        self.blocking = -1
        return first < len(self.gaps)


class EventByEvent:
    """All sequencers at one image. `known` has the times of the `images` before it, as many as any edge looks back."""

    def __init__(self, network: Network, edges: Sequence[Sequence[Edge]], known: Sequence[Steps], images: int) -> None:
        self.network = network
        self.edges = edges
        times = [every.tolist() for every in known]
        self._waiting: list[_Waiting] = []
        for index, sequencer in enumerate(network.sequencers):
            gaps = np.diff(sequencer.at, prepend=-1 if images else 0).tolist()
            compiled = [
                (self._causes(edge, sequencer.events, images), times[edge.source], edge.delay) for edge in edges[index]
            ]
            self._waiting.append(_Waiting(times[index], gaps, compiled, (images + 1) * sequencer.events))

    def solve(self) -> list[Steps] | Deadlock:
        """Return the times of the image, or why some event can never run."""
        ready = deque(range(len(self._waiting)))
        held: list[list[int]] = [[] for _ in self._waiting]
        while ready:
            at = ready.popleft()
            if self._waiting[at].advance():
                ready += held[at]
                held[at] = []
            if self._waiting[at].blocking >= 0:
                held[self.edges[at][self._waiting[at].blocking].source].append(at)
        if all(sequencer.blocking < 0 for sequencer in self._waiting):
            return [np.array(sequencer.times[-len(sequencer.gaps) :], np.int64) for sequencer in self._waiting]
        return self._deadlock()

    @staticmethod
    def _causes(edge: Edge, events: int, images: int) -> list[int]:
        """For each event that might wait, the event of all known images that it waits for, or a negative number."""
        causes = np.full(events, -1, np.int64)
        causes[edge.at] = edge.events + images * edge.period
        result: list[int] = causes.tolist()
        return result

    def _deadlock(self) -> Deadlock:
        """Follow what waits for what until it comes round."""
        at = next(i for i, sequencer in enumerate(self._waiting) if sequencer.blocking >= 0)
        path: list[int] = []
        held: list[Edge] = []
        while at not in path:
            path.append(at)
            held.append(self.edges[at][self._waiting[at].blocking])
            at = held[-1].source
        circle = slice(path.index(at), None)
        names = {self.network.sequencers[i].stage for i in path[circle]}
        queues = {edge.queue for edge in held[circle]}
        return Deadlock(
            tuple(name for name in dict.fromkeys(s.stage for s in self.network.sequencers) if name in names),
            tuple(link.stream.name for link in self.network.links if link.stream.name in queues),
        )
