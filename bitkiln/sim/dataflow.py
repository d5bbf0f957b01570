"""Exact cycles of a dataflow Plan: the least solution of the max-plus recurrences that its units declare.

Each sequencer's step runs at the largest of: the cycle after its previous step, and some earlier cycles plus constants
(an input beat visible, a queue place free, another sequencer of the unit done). That is what the hardware does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitkiln.ir import Plan, fail
from bitkiln.ir.units import Steps

from ._events import Deadlock
from ._network import Link, Network
from ._recurrence import Recurrence, Solution


@dataclass(frozen=True, eq=False)
class DataflowCycles:
    """When every beat moves. Cycle 0 is the one in which the first input beat is accepted.

    `input_cycles` and `output_cycles` are [images, beats]; from the last image that was solved on, each image is the
    one `period` images before it, moved by `period_cycles`. `latency` counts from the first accepted input beat to the
    last output beat of the first image, both included. `interval` is the distance between the last output beats of
    successive images in the steady state, or its mean, rounded up, in the rare plan whose `period` is more than 1.
    `busy` is the number of steps of each stage in one image (its cycles without stalls).
    """

    latency: int
    interval: int
    period: int
    period_cycles: int
    solved_images: int
    busy: dict[str, int]
    queue_peaks: dict[str, int]
    _input_cycles: Steps
    _output_cycles: Steps

    def input_cycles(self, images: int) -> Steps:
        """Return [images, beats]: the cycle in which each input beat is accepted, the source never waiting."""
        return self._extended(self._input_cycles, images)

    def output_cycles(self, images: int) -> Steps:
        """Return [images, beats]: the cycle in which each output beat is taken, the sink always ready."""
        return self._extended(self._output_cycles, images)

    def _extended(self, cycles: Steps, images: int) -> Steps:
        solved = len(cycles)
        if images <= solved:
            return cycles[:images].copy()
        result = np.empty((images, cycles.shape[1]), np.int64)
        result[:solved] = cycles
        for phase in range(self.period):
            rows = result[solved + phase :: self.period]
            distance = self.period_cycles * np.arange(1, len(rows) + 1, dtype=np.int64)
            np.add(cycles[solved - self.period + phase], distance[:, None], out=rows)
        return result


def dataflow_cycles(plan: Plan) -> DataflowCycles:
    """Solve `plan` for as many images as it takes to repeat.

    Raises ToolError `deadlock` if some step can never run.
    """
    network = Network(plan)
    depths = {stream.name: stream.depth for stream in plan.streams}
    solution = Recurrence(network, depths).solve()
    if isinstance(solution, Deadlock):
        full = " and ".join(f"{name} ({depths[name]} places)" for name in solution.queues)
        raise fail(
            "deadlock",
            f"the plan of {plan.graph.name} stops for ever: {', '.join(solution.stages)} wait for each other",
            hint=f"deeper queues: {full}" if full else "",
        )
    return _result(plan, network, solution)


def _result(plan: Plan, network: Network, solution: Solution) -> DataflowCycles:
    zero = int(solution.times[network.source][0, 0])
    source, sink = (solution.times[index] - zero for index in (network.source, network.sink))
    busy = {stage.name: 0 for stage in plan.stages}
    for sequencer in network.sequencers[: network.source]:
        busy[sequencer.stage] = max(busy[sequencer.stage], sequencer.steps)
    peaks = {link.stream.name: _peak(link, solution) for link in network.links}
    return DataflowCycles(
        int(sink[0, -1]) + 1,
        -(-solution.period_cycles // solution.period),
        solution.period,
        solution.period_cycles,
        solution.images,
        busy,
        peaks,
        source,
        sink,
    )


def _peak(link: Link, solution: Solution) -> int:
    """The most places of the queue that are ever taken, from issue to pop."""
    issued = solution.times[link.producer][:, link.pushes].reshape(-1)
    popped = solution.times[link.consumer][:, link.pops].reshape(-1)
    freed = np.searchsorted(popped, issued, side="left")  # popped in an earlier cycle than the issue
    return int((np.arange(1, len(issued) + 1) - freed).max())
