from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil

from bitkiln.hdl.cocotb_bench.bitkiln_bench import Xorshift32
from bitkiln.hdl.flow import Flow
from bitkiln.hdl.harness import CompiledSimulation
from bitkiln.ir import ToolError

from .stream_dummies import (
    AddingFifo,
    Dummy,
    Gatherer,
    Impatient,
    Inverter,
    Restless,
    Stutterer,
    Swallower,
    random_beats,
)

pytestmark = pytest.mark.tools("yosys", "c++")

RANDOM_FLOW = Flow(seed=3, valid_per_256=128, ready_per_256=64)


def test_fifo_passes_a_beat_every_cycle(simulation_cache: Path) -> None:
    dummy = AddingFifo(10)
    beats = random_beats(1000, 80, seed=1)
    trace = CompiledSimulation(dummy, cache_folder=simulation_cache).run(beats, 1000, max_cycles=1002)
    assert np.array_equal(trace.outputs, dummy.expected(beats))
    assert np.array_equal(trace.input_cycles, np.arange(1000))
    assert np.array_equal(trace.output_cycles, np.arange(1000) + 2)
    assert trace.cycles == 1002


def test_one_output_for_three_inputs(simulation_cache: Path) -> None:
    dummy = Gatherer(13, 3)
    beats = random_beats(300, 13, seed=2)
    trace = CompiledSimulation(dummy, cache_folder=simulation_cache).run(beats, 100, max_cycles=1000)
    assert np.array_equal(trace.outputs, dummy.expected(beats))
    assert np.array_equal(trace.output_cycles, np.arange(100) * 3 + 3)


@pytest.mark.parametrize("dummy", [AddingFifo(10), Gatherer(13, 3), Inverter()], ids=lambda d: type(d).__name__)
def test_back_pressure_changes_cycles_but_no_bits(
    dummy: AddingFifo | Gatherer | Inverter, simulation_cache: Path
) -> None:
    simulation = CompiledSimulation(dummy, cache_folder=simulation_cache)
    beats = random_beats(600, simulation.design.input_bits, seed=3)
    expected = dummy.expected(beats)
    freely = simulation.run(beats, len(expected), max_cycles=10_000)
    slowly = simulation.run(beats, len(expected), flow=RANDOM_FLOW, max_cycles=10_000)
    assert np.array_equal(freely.outputs, expected)
    assert np.array_equal(slowly.outputs, expected)
    assert slowly.cycles > freely.cycles
    assert np.array_equal(
        slowly.output_cycles,
        simulation.run(beats, len(expected), flow=RANDOM_FLOW, max_cycles=10_000).output_cycles,
    )


def test_handshakes_follow_the_documented_generator(simulation_cache: Path) -> None:
    """Logic without registers accepts a beat when both sides are willing, so the cycles show every decision."""
    beats = random_beats(200, 1, seed=4)
    trace = CompiledSimulation(Inverter(), cache_folder=simulation_cache).run(
        beats, 200, flow=RANDOM_FLOW, max_cycles=10_000
    )
    generator = Xorshift32(RANDOM_FLOW.first_state)
    is_offering = False
    expected = []
    for cycle in range(trace.cycles):
        drawn = generator.draw()
        is_offering = is_offering or (drawn >> 24) < 128
        if is_offering and (drawn >> 16) % 256 < 64:
            expected.append(cycle)
            is_offering = False
    assert trace.input_cycles.tolist() == trace.output_cycles.tolist() == expected


def test_no_beats_take_no_cycle(simulation_cache: Path) -> None:
    trace = CompiledSimulation(Inverter(), cache_folder=simulation_cache).run(
        random_beats(0, 1, seed=1), 0, max_cycles=1
    )
    assert (trace.outputs.shape, trace.input_cycles.shape, trace.cycles) == ((0, 1), (0,), 0)


@pytest.mark.parametrize(
    ("dummy", "output_beats", "flow", "message"),
    [
        (
            Swallower(5, is_counting=False),
            30,
            Flow(),
            "error[simulation-stuck]: the simulation is stuck, no register changes any more at cycle 68: "
            "1 of 30 output beats came, 5 of 30 input beats were accepted\n"
            "  help: look for a FIFO that is too small, or for more expected outputs than the inputs give",
        ),
        (
            Swallower(5, is_counting=True),
            30,
            Flow(),
            "error[simulation-stuck]: the simulation did not end within 1000 cycles: "
            "1 of 30 output beats came, 5 of 30 input beats were accepted\n"
            "  help: raise max_cycles, or look for a FIFO that is too small",
        ),
        (
            Restless(),
            10,
            RANDOM_FLOW,
            "error[unstable-output]: the output changed at cycle 1 before it was accepted: valid and payload must "
            "stay until ready is high; 0 of 10 output beats came, 0 of 30 input beats were accepted",
        ),
        (
            Impatient(),
            30,
            RANDOM_FLOW,
            "error[unstable-output]: the output changed at cycle 4 before it was accepted: valid and payload must "
            "stay until ready is high; 0 of 30 output beats came, 1 of 30 input beats were accepted",
        ),
        (
            Stutterer(),
            30,
            Flow(),
            "error[surplus-output]: an output beat came at cycle 46 after all expected ones: "
            "30 of 30 output beats came, 16 of 30 input beats were accepted\n"
            "  help: outputs are looked for until 64 cycles after the last expected one",
        ),
        (
            AddingFifo(1),
            29,
            Flow(),
            "error[surplus-output]: an output beat came at cycle 31 after all expected ones: "
            "29 of 29 output beats came, 30 of 30 input beats were accepted\n"
            "  help: outputs are looked for until 64 cycles after the last expected one",
        ),
    ],
    ids=["deadlock", "livelock", "payload", "valid", "twice", "one-more"],
)
def test_broken_component(dummy: Dummy, output_beats: int, flow: Flow, message: str, simulation_cache: Path) -> None:
    simulation = CompiledSimulation(dummy, cache_folder=simulation_cache)
    with pytest.raises(ToolError) as caught:
        simulation.run(random_beats(30, 8, seed=1), output_beats, flow=flow, max_cycles=1000)
    assert str(caught.value) == message


def test_runs_end_when_max_cycles_are_just_enough(simulation_cache: Path) -> None:
    simulation = CompiledSimulation(AddingFifo(1), cache_folder=simulation_cache)
    beats = random_beats(10, 8, seed=1)
    assert simulation.run(beats, 10, max_cycles=12).cycles == 12
    with pytest.raises(ToolError, match="did not end within 11 cycles: 9 of 10 output beats came"):
        simulation.run(beats, 10, max_cycles=11)


def test_library_is_compiled_once(tmp_path: Path) -> None:
    first = CompiledSimulation(Inverter(), cache_folder=tmp_path)
    written = first.library.stat().st_mtime_ns
    again = CompiledSimulation(rtlil.convert(Inverter(), name="top", emit_src=False), cache_folder=tmp_path)
    assert again.library == first.library
    assert again.library.stat().st_mtime_ns == written
    assert list(tmp_path.glob("*.so")) == [first.library]


def test_failed_compilation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        CompiledSimulation(Inverter(), cache_folder=tmp_path, cxx_flags=("-include", "missing.h"))
    assert [diagnostic.slug for diagnostic in caught.value.diagnostics] == ["tool-failed"]
    assert list(tmp_path.iterdir()) == []


def test_cache_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("not a folder")
    with pytest.raises(ToolError, match="cannot-write"):
        CompiledSimulation(Inverter(), cache_folder=blocked)
