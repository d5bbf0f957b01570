"""Runs an accelerator under cocotb on Verilator or Icarus: a second opinion beside the compiled harness."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from amaranth.lib import wiring

from ._artefacts import default_cache_folder
from .bundle import Bundle
from .cocotb_bench import bitkiln_bench
from .cocotb_program import CocotbDesign, Simulator, cocotb_program, run_cocotb
from .flow import ALWAYS, DRAIN_CYCLES, RESET_CYCLES, Flow
from .stream_design import StreamDesign
from .trace import Beats, Outcome, Progress, Trace, failure

__all__ = ["CocotbSimulation", "Simulator"]

_TEST = bitkiln_bench.__name__.rpartition(".")[2]


class CocotbSimulation:
    """An accelerator that cocotb drives; `run` has the contract of `CompiledSimulation.run`, at some 10^4 cycles/s.

    `run_folder` gets the beats and the results of the latest run; the compiled design is kept in `cache_folder`
    (default: ~/.cache/bitkiln/sim). Raises `wrong-ports`, `missing-tool`, `tool-failed` and `cannot-write`.

        trace = CocotbSimulation(accelerator, run_folder=folder).run(beats, 10, max_cycles=100_000)
    """

    def __init__(
        self,
        source: wiring.Component | str,
        *,
        run_folder: Path,
        simulator: Simulator = Simulator.VERILATOR,
        cache_folder: Path | None = None,
    ) -> None:
        self.design = StreamDesign.of(source)
        self.run_folder = run_folder.absolute()
        self.simulator = simulator
        design = CocotbDesign(self.design.rtlil, "top", self.design.ports)
        self.program = cocotb_program(design, simulator, cache_folder or default_cache_folder())

    def run(self, beats: Beats, expected_output_beats: int, *, flow: Flow = ALWAYS, max_cycles: int) -> Trace:
        """Stream `beats` (n, bytes a beat) through the accelerator until that many output beats came.

        Raises `wrong-beats`, `simulation-stuck` (after `max_cycles`), `unstable-output`, `surplus-output` and
        `tool-failed`.
        """
        beats = self.design.checked(beats)
        request = bitkiln_bench.Request(
            input_bits=self.design.input_bits,
            output_bits=self.design.output_bits,
            has_clock=self.design.has_clock,
            has_reset=self.design.has_reset,
            output_beats=expected_output_beats,
            max_cycles=max_cycles,
            first_state=flow.first_state,
            valid_per_256=flow.valid_per_256,
            ready_per_256=flow.ready_per_256,
            reset_cycles=RESET_CYCLES,
            drain_cycles=DRAIN_CYCLES,
        )
        stimulus = io.BytesIO()
        np.save(stimulus, beats)
        text = json.dumps(asdict(request), indent=1) + "\n"
        Bundle.of({"beats.npy": stimulus.getvalue(), "request.json": text.encode()}).write(self.run_folder)
        return self._trace(self._simulate(), len(beats), expected_output_beats)

    def _simulate(self) -> bitkiln_bench.Result:
        text = run_cocotb(self.program, self.simulator, "top", _TEST, self.run_folder)
        return bitkiln_bench.Result(**json.loads(text))

    def _trace(self, result: bitkiln_bench.Result, input_beats: int, output_beats: int) -> Trace:
        outcome = Outcome[result.outcome]
        if outcome is not Outcome.FINISHED:
            accepted = (result.inputs_accepted, input_beats, result.outputs_accepted, output_beats)
            raise failure(outcome, Progress(*accepted, result.cycle))
        return Trace(
            np.load(self.run_folder / "outputs.npy"),
            np.load(self.run_folder / "input_cycles.npy"),
            np.load(self.run_folder / "output_cycles.npy"),
            result.cycle,
        )
