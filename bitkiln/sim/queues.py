"""How deep the queues of a Plan must be for it to run as fast as its slowest unit can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitkiln.ir import Plan

from ._network import Link, Network
from ._periodic import PeriodicSchedule

GROWTH = 4
"""By how much a queue is deepened at a time. What is too much is found by bisection, cheaper than small steps."""


def best_interval(plan: Plan) -> int:
    """Return the least interval that any depths of the queues allow: that of the slowest unit, source or sink.

    A window may alternate between two intervals; then this is their mean, rounded up like `DataflowCycles.interval`.
    """
    return _without_queues(Network(plan)).interval


def size_queues(plan: Plan) -> Plan:
    """Return the plan with queues deep enough for `best_interval(plan)`, which no deeper queue could improve.

    No queue gets shallower than it is in `plan`. Each one that got deeper is needed: with one place less in it, and the
    others as they are, the interval would be longer or the plan would stop for ever. That is not the least sum of
    places: where several queues could make up for a lack, only a greedy choice between them is tried.
    Same plan, same depths.
    """
    network = Network(plan)
    least = {stream.name: stream.depth for stream in plan.streams}
    schedule = _without_queues(network)
    depths = _deepened(schedule, least)
    while (fewer := _shallower(schedule, least, depths)) != depths:  # a memory that became registers is faster, too
        depths = fewer
    return replace(plan, streams=tuple(replace(stream, depth=depths[stream.name]) for stream in plan.streams))


def _without_queues(network: Network) -> PeriodicSchedule:
    """Return the schedule of units that never wait for each other, of the least interval."""
    schedule = PeriodicSchedule(network, max(sequencer.steps for sequencer in network.sequencers))
    while circle := schedule.settle():
        schedule = schedule.slower(-(-circle.cycles // circle.images))
    return schedule


def _deepened(schedule: PeriodicSchedule, least: Mapping[str, int]) -> dict[str, int]:
    """Deepen one queue that holds everything up after the other, until nothing but the slowest unit does.

    Of several that share the blame it is the one through which the fewest bits pass: a place in it lasts longest.
    """
    depths = dict(least)
    links = {link.stream.name: link for link in schedule.network.links}
    volumes = {name: link.stream.beats * link.stream.beat.width for name, link in links.items()}
    for name, link in links.items():
        schedule.connect(link, depths[name])
    while circle := schedule.settle():
        assert circle.queues, "what is slower than its slowest unit waits for a place in some queue"
        name = min(circle.queues, key=lambda name: (volumes[name], name))
        depths[name] *= GROWTH
        schedule.connect(links[name], depths[name])
    return depths


def _shallower(schedule: PeriodicSchedule, least: Mapping[str, int], depths: Mapping[str, int]) -> dict[str, int]:
    """Take the places that it does not need from each queue in turn, that of the most bits first."""
    links = {link.stream.name: link for link in schedule.network.links}
    bits = {name: depth * links[name].stream.beat.width for name, depth in depths.items()}
    deeper = [name for name in depths if depths[name] > least[name]]
    found = dict(depths)
    for name in sorted(deeper, key=lambda name: (-bits[name], name)):
        found[name] = _least_depth(schedule, links[name], least[name], depths[name])
    return found


def _least_depth(schedule: PeriodicSchedule, link: Link, least: int, depth: int) -> int:
    """Make a queue as shallow as the interval allows, and the schedule one with it; return its depth.

    Bisection finds a depth that does and one less that does not. Where a place less does not do, nothing is sought.
    """
    low, high, tried = least - 1, depth, depth - 1
    while high - low > 1:
        kept = [delays.copy() for delays in schedule.delays]
        schedule.connect(link, tried)
        if schedule.settle():
            schedule.delays = kept
            low = tried
        else:
            high = tried
        tried = (low + high) // 2
    schedule.connect(link, high)
    return high
