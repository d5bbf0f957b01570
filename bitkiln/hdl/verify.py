"""Does the hardware do what the golden model says, in the cycles that were predicted? Every beat is compared."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from bitkiln.ir import Graph, Plan, ToolError, evaluate, fail, prune_dead
from bitkiln.sim.dataflow import DataflowCycles, dataflow_cycles

from .accelerator import Accelerator
from .beats import Codes, pack_inputs, pack_outputs, unpack_outputs
from .bench import CocotbSimulation, HdlSimulator
from .compare import Mismatches, compare
from .flow import ALWAYS, Flow
from .harness import CompiledSimulation
from .trace import Trace


class Simulator(Enum):
    """What runs the RTL."""

    COMPILED = "compiled"
    COCOTB = "cocotb"
    ICARUS = "icarus"


@dataclass(frozen=True)
class VerifyOptions:
    """How many images run, on which simulator, and whether they run again under random back-pressure."""

    images: int = 200
    simulator: Simulator = Simulator.COMPILED
    back_pressure: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        if self.images < 2:
            raise fail("bad-value", f"verify.images must be at least 2 (an interval needs two), not {self.images}")


@dataclass(frozen=True)
class Verification:
    """What was compared and what differed.

    `mismatches` counts wrong output beats over all runs, `cycle_mismatches` output beats at another cycle than predicted
    (in the run without back-pressure). The interval is that of the last two images.
    """

    images: int
    mismatches: int
    cycle_mismatches: int
    rtl_latency: int
    rtl_interval: int
    predicted_latency: int
    predicted_interval: int
    simulator: str
    back_pressure_images: int
    cycles: int
    seconds: float
    first_mismatch: str

    @property
    def is_exact(self) -> bool:
        """True if every bit and every cycle was as predicted."""
        return self.mismatches == 0 and self.cycle_mismatches == 0


def verify(plan: Plan, samples: Tensor, options: VerifyOptions, cache_folder: Path | None = None) -> Verification:
    """Run float `samples` (or codes, if the graph takes codes) through the RTL of `plan` and compare all results.

    Raises ToolError `too-few-samples`, and what the simulator raises (a deadlock, a missing tool).
    """
    if len(samples) < options.images:
        raise fail("too-few-samples", f"verify.images is {options.images}, but there are only {len(samples)} test samples")
    codes, golden = golden_codes(plan, samples[: options.images])
    expected, predicted = pack_outputs(plan, golden), dataflow_cycles(plan)
    simulation = _simulation(plan, options.simulator, cache_folder)
    start = time.monotonic()
    trace = _run(simulation, plan, codes, predicted, ALWAYS)
    cycles = predicted.output_cycles(len(codes)).reshape(-1)
    shifted = replace(trace, output_cycles=trace.output_cycles - trace.input_cycles[0])
    found = compare(shifted, expected, cycles)
    again = Mismatches()
    if options.back_pressure:
        flow = Flow(seed=options.seed, valid_per_256=128, ready_per_256=128)
        again = compare(_run(simulation, plan, codes, predicted, flow), expected, None)
    last = shifted.output_cycles.reshape(len(codes), -1)[:, -1]
    return Verification(
        images=len(codes),
        mismatches=found.bits + again.bits,
        cycle_mismatches=found.cycles,
        rtl_latency=int(last[0]) + 1,
        rtl_interval=int(last[-1] - last[-2]),
        predicted_latency=predicted.latency,
        predicted_interval=int(cycles[-1] - cycles[-1 - len(cycles) // len(codes)]),
        simulator=options.simulator.value,
        back_pressure_images=len(codes) if options.back_pressure else 0,
        cycles=trace.cycles,
        seconds=round(time.monotonic() - start, 3),
        first_mismatch=found.first or again.first,
    )


def golden_codes(plan: Plan, samples: Tensor, batch: int = 256) -> tuple[Codes, Codes]:
    """Return the codes that go in and the codes that must come out, both [images, elements] in the graph's order."""
    graph = prune_dead(replace(plan.graph, outputs=(plan.input_value, plan.output_value)))
    pieces = [_evaluated(graph, samples[i : i + batch]) for i in range(0, len(samples), batch)]
    return np.concatenate([a for a, _ in pieces]), np.concatenate([b for _, b in pieces])


def _evaluated(graph: Graph, samples: Tensor) -> tuple[Codes, Codes]:
    with torch.no_grad():
        given, result = evaluate(graph, samples)
    return tuple(value.reshape(len(samples), -1).to(torch.int64).numpy() for value in (given, result))  # type: ignore[return-value]  # two of two


def _simulation(plan: Plan, simulator: Simulator, cache_folder: Path | None) -> CompiledSimulation | CocotbSimulation:
    match simulator:
        case Simulator.COMPILED:
            return CompiledSimulation(Accelerator(plan), cache_folder=cache_folder)
        case Simulator.COCOTB:
            return CocotbSimulation(Accelerator(plan), HdlSimulator.VERILATOR)
        case Simulator.ICARUS:
            return CocotbSimulation(Accelerator(plan), HdlSimulator.ICARUS)
    assert_never(simulator)


def _run(
    simulation: CompiledSimulation | CocotbSimulation, plan: Plan, codes: Codes, cycles: DataflowCycles, flow: Flow
) -> Trace:
    """Stream the images; a run may take ten times the predicted cycles before it counts as stuck."""
    expected = len(codes) * plan.stream[plan.output_stream].beats
    limit = 10 * (cycles.latency + cycles.interval * len(codes)) + 10_000
    return simulation.run(pack_inputs(plan, codes), expected, flow=flow, max_cycles=limit)


__all__ = ["Simulator", "ToolError", "Verification", "VerifyOptions", "golden_codes", "unpack_outputs", "verify"]
