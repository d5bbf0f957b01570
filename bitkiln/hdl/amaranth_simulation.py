"""Runs an accelerator in Amaranth's own simulator: slow by the cycle, but nothing is compiled. For small designs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Cat
from amaranth.lib import wiring
from amaranth.sim import Simulator

from .flow import ALWAYS, DRAIN_CYCLES, Flow
from .trace import Beats, Outcome, Progress, Trace, failure


@dataclass
class _Run:
    """What is streamed in, and what has happened so far."""

    beats: list[int]
    expected: int
    flow: Flow
    max_cycles: int
    outputs: list[int]
    input_cycles: list[int]
    output_cycles: list[int]
    outcome: Outcome = Outcome.FINISHED

    def progress(self, cycle: int) -> Progress:
        return Progress(len(self.input_cycles), len(self.beats), len(self.outputs), self.expected, cycle)


class AmaranthSimulation:
    """An accelerator that may be run several times, each time from reset; the same rules as the compiled harness's."""

    def __init__(self, accelerator: wiring.Component) -> None:
        self._top = accelerator
        self._run_: _Run | None = None
        self._cycle, self._has_run = 0, False
        self._simulator = Simulator(accelerator)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._bench)

    def run(self, beats: Beats, expected_output_beats: int, *, flow: Flow = ALWAYS, max_cycles: int) -> Trace:
        """Stream `beats` (n, bytes a beat) through the accelerator until that many output beats came.

        Raises `simulation-stuck`, `unstable-output` and `surplus-output`.
        """
        words = [int.from_bytes(beat.tobytes(), "little") for beat in beats]
        self._run_ = run = _Run(words, expected_output_beats, flow, max_cycles, [], [], [])
        if self._has_run:
            self._simulator.reset()
        self._has_run = True
        self._simulator.run()
        if run.outcome is not Outcome.FINISHED:
            raise failure(run.outcome, run.progress(self._cycle))
        width = (len(self._top.o.payload) + 7) // 8
        data = b"".join(word.to_bytes(width, "little") for word in run.outputs)
        return Trace(
            np.frombuffer(data, np.uint8).reshape(-1, width),
            np.array(run.input_cycles, np.int64),
            np.array(run.output_cycles, np.int64),
            run.output_cycles[-1] + 1,
        )

    async def _bench(self, ctx: Any) -> None:
        """Drive a run. Each write settles the whole design: all ports are written at once, and only if they change."""
        run, top = self._run_, self._top
        assert run is not None
        width = len(top.i.payload)
        idle = (1 << width) - 1
        given, seen = Cat(top.o.ready, top.i.valid, top.i.payload), Cat(top.i.ready, top.o.valid, top.o.payload)
        numbers, is_offered, driven = _xorshift(run.flow.first_state), False, -1
        shown: int | None = None
        drained = self._cycle = 0
        while run.outcome is Outcome.FINISHED and drained <= DRAIN_CYCLES:
            number, sent = next(numbers), len(run.input_cycles)
            is_offered = sent < len(run.beats) and (is_offered or (number >> 24) < run.flow.valid_per_256)
            is_ready = (number >> 16 & 255) < run.flow.ready_per_256
            ports = (run.beats[sent] if is_offered else idle) << 2 | is_offered << 1 | is_ready
            if ports != driven:
                ctx.set(given, ports)
                driven = ports
            ports_out = ctx.get(seen)
            if is_offered and ports_out & 1:
                run.input_cycles.append(self._cycle)
                is_offered = False
            word = ports_out >> 2 if ports_out & 2 else None
            if shown is not None and word != shown:
                run.outcome = Outcome.UNSTABLE_OUTPUT
            shown = word
            if word is not None and len(run.outputs) == run.expected:
                run.outcome = Outcome.SURPLUS_OUTPUT
            elif word is not None and is_ready:
                run.outputs.append(word)
                run.output_cycles.append(self._cycle)
                shown = None
            drained += len(run.outputs) == run.expected
            if self._cycle >= run.max_cycles and not drained:
                run.outcome = Outcome.TOO_MANY_CYCLES
            await ctx.tick()
            self._cycle += 1


def _xorshift(state: int) -> Iterator[int]:
    """The numbers that decide when beats are offered and taken; see `flow`."""
    while True:
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        yield state
