"""How deep the queues of a Plan must be for it to run as fast as its slowest unit can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitkiln.ir import Plan, Stage

from ._critical import critical_queues
from ._events import Deadlock
from ._network import Network
from ._recurrence import Recurrence, Solution
from .dataflow import dataflow_cycles

AMPLE_DEPTH = 16
"""Places that keep no unit waiting beside a source that always has a beat or a sink that always takes one."""

GROWTH = 4
"""By how much a queue is deepened at a time. What is too much is found by bisection, cheaper than small steps."""


def best_interval(plan: Plan) -> int:
    """Return the least interval that any depths of the queues allow: that of the slowest unit, source or sink.

    A window may alternate between two intervals; then this is their mean, rounded up like `DataflowCycles.interval`.
    """
    ends = (plan.stream[plan.input_stream].beats, plan.stream[plan.output_stream].beats)
    return max(*ends, *(_interval_alone(plan, stage) for stage in plan.stages))


def _interval_alone(plan: Plan, stage: Stage) -> int:
    """The interval of one unit whose inputs are always there and whose outputs are always taken."""
    timing = stage.unit.timing()
    if len(timing) == 1:
        return timing[0].steps
    (source,), (sink,) = stage.inputs, stage.outputs  # units of several sequencers have one port on either side
    streams = tuple(replace(plan.stream[name], depth=AMPLE_DEPTH) for name in (source, sink))
    alone = replace(plan, stages=(stage,), streams=streams, input_stream=source, output_stream=sink)
    return dataflow_cycles(alone).interval


def size_queues(plan: Plan) -> Plan:
    """Return the plan with queues deep enough for `best_interval(plan)`, which no deeper queue could improve.

    No queue gets shallower than it is in `plan`. Each one that got deeper is needed: with one place less in it, and the
    others as they are, the interval would be longer or the plan would stop for ever. That is not the least sum of
    places: where several queues could make up for a lack, only a greedy choice between them is tried.
    Same plan, same depths.
    """
    network = Network(plan)
    least = {stream.name: stream.depth for stream in plan.streams}
    best = best_interval(plan)
    depths = _deepened(network, least, best)
    bits = {stream.name: depths[stream.name] * stream.beat.width for stream in plan.streams}
    for name in sorted((name for name in depths if depths[name] > least[name]), key=lambda name: (-bits[name], name)):
        low, high = least[name] - 1, depths[name]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _keeps(network, {**depths, name: middle}, best) else (middle, high)
        depths[name] = high
    return replace(plan, streams=tuple(replace(stream, depth=depths[stream.name]) for stream in plan.streams))


def _deepened(network: Network, least: Mapping[str, int], best: int) -> dict[str, int]:
    """Deepen one queue that holds everything up after the other, until nothing but the slowest unit does.

    Of several that share the blame it is the one through which the fewest bits pass: a place in it lasts longest.
    """
    depths = dict(least)
    volumes = {link.stream.name: link.stream.beats * link.stream.beat.width for link in network.links}
    while True:
        recurrence = Recurrence(network, depths)
        solution = recurrence.solve()
        if isinstance(solution, Deadlock):
            narrow = solution.queues
        elif _is_best(solution, best):
            return depths
        else:
            narrow = critical_queues(recurrence, solution)
        assert narrow, "what is slower than its slowest unit waits for a place in some queue"
        name = min(narrow, key=lambda name: (volumes[name], name))
        depths[name] *= GROWTH


def _keeps(network: Network, depths: Mapping[str, int], best: int) -> bool:
    solution = Recurrence(network, depths).solve()
    return isinstance(solution, Solution) and _is_best(solution, best)


def _is_best(solution: Solution, best: int) -> bool:
    return solution.period_cycles <= best * solution.period
