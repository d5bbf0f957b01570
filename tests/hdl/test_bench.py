from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitkiln.hdl.bench import CocotbSimulation, Simulator
from bitkiln.hdl.flow import ALWAYS, Flow
from bitkiln.hdl.harness import CompiledSimulation
from bitkiln.ir import ToolError

from .stream_dummies import AddingFifo, Dummy, Gatherer, Impatient, Inverter, Stutterer, Swallower, random_beats

pytestmark = pytest.mark.tools("yosys", "c++", "cocotb")

RANDOM_FLOW = Flow(seed=3, valid_per_256=128, ready_per_256=64)


@pytest.mark.parametrize("dummy", [AddingFifo(10), Gatherer(5, 40), Inverter()], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize(
    "simulator",
    [
        pytest.param(Simulator.VERILATOR, marks=pytest.mark.tools("verilator")),
        pytest.param(Simulator.ICARUS, marks=pytest.mark.tools("iverilog", "vvp")),
    ],
    ids=lambda simulator: simulator.value,
)
def test_same_trace_as_the_compiled_harness(
    dummy: AddingFifo | Gatherer | Inverter, simulator: Simulator, simulation_cache: Path, tmp_path: Path
) -> None:
    compiled = CompiledSimulation(dummy, cache_folder=simulation_cache)
    cocotb = CocotbSimulation(dummy, run_folder=tmp_path / "run", simulator=simulator, cache_folder=simulation_cache)
    beats = random_beats(400, compiled.design.input_bits, seed=5)
    expected = dummy.expected(beats)
    for flow in (ALWAYS, RANDOM_FLOW):
        one = compiled.run(beats, len(expected), flow=flow, max_cycles=10_000)
        other = cocotb.run(beats, len(expected), flow=flow, max_cycles=10_000)
        assert np.array_equal(one.outputs, expected)
        assert np.array_equal(other.outputs, expected)
        assert np.array_equal(one.input_cycles, other.input_cycles)
        assert np.array_equal(one.output_cycles, other.output_cycles)
        assert one.cycles == other.cycles


@pytest.mark.tools("verilator")
@pytest.mark.parametrize(
    ("dummy", "message"),
    [
        (
            Swallower(5, is_counting=False),
            "error[simulation-stuck]: the simulation did not end within 1000 cycles: "
            "1 of 30 output beats came, 5 of 30 input beats were accepted\n"
            "  help: raise max_cycles, or look for a FIFO that is too small",
        ),
        (
            Impatient(),
            "error[unstable-output]: the output changed at cycle 4 before it was accepted: valid and payload must "
            "stay until ready is high; 0 of 30 output beats came, 1 of 30 input beats were accepted",
        ),
        (
            Stutterer(),
            "error[surplus-output]: an output beat came at cycle 143 after all expected ones: "
            "30 of 30 output beats came, 16 of 30 input beats were accepted\n"
            "  help: outputs are looked for until 64 cycles after the last expected one",
        ),
    ],
    ids=["stuck", "unstable", "surplus"],
)
def test_broken_component(dummy: Dummy, message: str, simulation_cache: Path, tmp_path: Path) -> None:
    simulation = CocotbSimulation(dummy, run_folder=tmp_path / "run", cache_folder=simulation_cache)
    with pytest.raises(ToolError) as caught:
        simulation.run(random_beats(30, 8, seed=1), 30, flow=RANDOM_FLOW, max_cycles=1000)
    assert str(caught.value) == message


@pytest.mark.tools("verilator")
def test_run_folder_holds_stimulus_and_results(simulation_cache: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    simulation = CocotbSimulation(Inverter(), run_folder=run_folder, cache_folder=simulation_cache)
    trace = simulation.run(random_beats(20, 1, seed=6), 20, max_cycles=100)
    assert np.array_equal(np.load(run_folder / "beats.npy"), random_beats(20, 1, seed=6))
    assert np.array_equal(np.load(run_folder / "outputs.npy"), trace.outputs)


@pytest.mark.tools("verilator")
def test_crash_inside_the_simulator_shows_its_log(simulation_cache: Path, tmp_path: Path) -> None:
    simulation = CocotbSimulation(Inverter(), run_folder=tmp_path / "run", cache_folder=simulation_cache)
    simulation.program = Path("/bin/true")
    with pytest.raises(ToolError, match="cocotb gave no result"):
        simulation.run(random_beats(1, 1, seed=1), 1, max_cycles=10)
