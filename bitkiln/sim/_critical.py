"""Why the interval of a solved Plan is as long as it is: the full queues in the circle of waits that sets it."""

from __future__ import annotations

from functools import cache

import numpy as np

from bitkiln.ir.units import Steps

from ._network import Edge
from ._recurrence import Recurrence, Solution


def critical_queues(recurrence: Recurrence, solution: Solution) -> tuple[str, ...]:
    """Return the queues whose lack of places makes the interval as long as it is, in the order of the plan's streams.

    Follows, from the last event on, what each event waited for until it comes back to the same event of an image that
    is whole periods earlier. Once images repeat, such a circle takes exactly the interval for each image that it goes
    back, and only with deeper queues on it can it be shorter. Before, the queues may be any on the way, or none.
    """
    trace = _Trace(recurrence, solution)
    at, event, image = (
        recurrence.network.sink,
        solution.times[recurrence.network.sink].shape[1] - 1,
        solution.images - 1,
    )
    seen: dict[tuple[int, int, int], int] = {}
    queues: list[str] = []
    while (at, event, image % solution.period) not in seen:
        seen[at, event, image % solution.period] = len(queues)
        cause = trace.cause(at, event, image)
        if cause is None:
            break
        at, event, image, queue = cause
        queues.append(queue)
    circle = {*queues[seen.get((at, event, image % solution.period), 0) :]} - {""} or {*queues} - {""}
    return tuple(link.stream.name for link in recurrence.network.links if link.stream.name in circle)


class _Trace:
    def __init__(self, recurrence: Recurrence, solution: Solution) -> None:
        self.recurrence = recurrence
        self.solution = solution
        self.waits = cache(self._waits)

    def cause(self, at: int, event: int, image: int) -> tuple[int, int, int, str] | None:
        """What an event waited for, the run of steps without a wait that ends with it passed over: (sequencer, event,
        image, queue whose place it was or ''), or None at the very start.
        """
        edges, last = self.waits(at, image)
        waited = int(last[event])
        if waited < 0:
            return (at, self.solution.times[at].shape[1] - 1, image - 1, "") if image else None
        edge = self.recurrence.edges[at][int(edges[waited])]
        back, cause = divmod(int(edge.events[np.searchsorted(edge.at, waited)]), edge.period)
        return edge.source, cause, image + back, edge.queue

    def _waits(self, at: int, image: int) -> tuple[Steps, Steps]:
        """For each event the edge that it waited for, or -1; and the last event up to it that waited."""
        edges = np.full(self.solution.times[at].shape[1], -1, np.int64)
        for number, edge in enumerate(self.recurrence.edges[at]):
            edges[edge.at[self._is_tight(at, image, edge)]] = number
        events = np.arange(len(edges), dtype=np.int64)
        return edges, np.maximum.accumulate(np.where(edges >= 0, events, -1))

    def _is_tight(self, at: int, image: int, edge: Edge) -> Steps:
        """For each event that has the edge, whether it ran as soon as the edge let it."""
        source = self.solution.times[edge.source].reshape(-1)
        causes = edge.events + image * edge.period
        allowed = source[np.maximum(causes, 0)] + edge.delay
        tight: Steps = (causes >= 0) & (allowed == self.solution.times[at][image, edge.at])
        return tight
