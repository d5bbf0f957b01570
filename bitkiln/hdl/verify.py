"""Does the hardware do what the golden model says, in the cycles that were predicted? Every beat is compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from torch import Tensor

from bitkiln.ir import Plan
from bitkiln.sim.dataflow import DataflowCycles, dataflow_cycles
from bitkiln.sim.image_cycles import depends_on_codes, image_output_cycles

from .accelerator import stream_accelerator
from .amaranth_simulation import AmaranthSimulation
from .beats import Codes, pack_inputs, pack_outputs
from .bench import CocotbSimulation, Simulator
from .compare import compare
from .flow import ALWAYS, Flow
from .golden_codes import golden_codes, too_few
from .harness import CompiledSimulation
from .trace import Trace
from .verification import RtlSimulator, Verification, VerifyOptions
from .weights import weights_of

__all__ = ["golden_codes", "too_few", "verify_plan"]

Simulation = CompiledSimulation | CocotbSimulation | AmaranthSimulation


def verify_plan(
    plan: Plan,
    samples: Tensor,
    options: VerifyOptions,
    cache_folder: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Verification:
    """Run `samples` (what the plan's graph takes: floats, mostly) through the RTL and compare all results.

    Raises ToolError `too-few-samples`, and what the simulator raises (`simulation-stuck`, `missing-tool`, ...).
    """
    too_few(samples, options.images)
    codes, golden = golden_codes(plan, samples[: options.images])
    expected, predicted = pack_outputs(plan, golden), dataflow_cycles(plan)
    cycles = expected_cycles(plan, codes, predicted)
    with tempfile.TemporaryDirectory(prefix="bitkiln-verify-") as folder:
        on_step("compile the RTL")
        simulation = _simulation(plan, options.simulator, cache_folder, Path(folder) / "run")
        on_step(f"stream {len(codes)} images")
        trace = _run(simulation, plan, codes, predicted, ALWAYS)
        trace = replace(trace, output_cycles=trace.output_cycles - trace.input_cycles[0])
        found = [compare(trace, expected, cycles.reshape(-1))]
        if options.back_pressure:
            on_step(f"stream {len(codes)} images under back-pressure")
            flow = Flow(seed=options.seed, valid_per_256=128, ready_per_256=128)
            found.append(compare(_run(simulation, plan, codes, predicted, flow), expected))
    last = trace.output_cycles.reshape(len(codes), -1)[:, -1]
    return Verification(
        images=len(codes),
        mismatches=sum(result.wrong_beats for result in found),
        cycle_mismatches=found[0].wrong_cycles,
        rtl_latency=int(last[0]) + 1,
        rtl_interval=int(last[-1] - last[-2]),
        predicted_latency=int(cycles[0, -1]) + 1,
        predicted_interval=int(cycles[-1, -1] - cycles[-2, -1]),
        simulator=options.simulator,
        back_pressure_images=len(codes) if options.back_pressure else 0,
        cycles=trace.cycles,
        findings="\n".join(str(result) for result in found if not result.is_match),
    )


def expected_cycles(plan: Plan, codes: Codes, predicted: DataflowCycles) -> Codes:
    """When each output beat should come; by the images themselves where units skip zeros in them."""
    if depends_on_codes(plan):
        return image_output_cycles(plan, codes[:, plan.input_order])
    return predicted.output_cycles(len(codes))


def _simulation(plan: Plan, simulator: RtlSimulator, cache_folder: Path | None, run_folder: Path) -> Simulation:
    accelerator = stream_accelerator(plan)
    match simulator:
        case RtlSimulator.COMPILED:
            return CompiledSimulation(accelerator, cache_folder=cache_folder)
        case RtlSimulator.AMARANTH:
            return AmaranthSimulation(accelerator)
        case RtlSimulator.COCOTB | RtlSimulator.ICARUS:
            engine = Simulator.VERILATOR if simulator is RtlSimulator.COCOTB else Simulator.ICARUS
            return CocotbSimulation(accelerator, run_folder=run_folder, simulator=engine, cache_folder=cache_folder)
    assert_never(simulator)


def _run(simulation: Simulation, plan: Plan, codes: Codes, predicted: DataflowCycles, flow: Flow) -> Trace:
    """Stream the images; a run may take ten times the predicted cycles before it counts as stuck."""
    expected = len(codes) * plan.stream[plan.output_stream].beats
    limit = 10 * (predicted.latency + predicted.interval * len(codes)) + len(weights_of(plan).data) + 10_000
    return simulation.run(pack_inputs(plan, codes), expected, flow=flow, max_cycles=limit)
