"""Runs an accelerator under cocotb on Verilator or Icarus: a second, independent opinion beside the compiled harness.

Verilator's C++ is compiled here, not by its makefile: its runtime, four fifths of the work, is the same for every
design and compiled once, and the makefile of the PyPI wheel needs settings that these two commands do not.
"""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import assert_never

import cocotb
import numpy as np
from amaranth.lib import wiring
from cocotb_tools import config

from bitkiln.ir import fail

from ._artefacts import built, default_cache_folder
from .bundle import Bundle
from .cocotb_bench import bitkiln_bench
from .flow import ALWAYS, DRAIN_CYCLES, RESET_CYCLES, Flow
from .program_places import Executable
from .stream_design import StreamDesign
from .toolchain import CXX, IVERILOG, VERILATOR, VVP, YOSYS, Tool
from .trace import Beats, Outcome, Progress, Trace, failure

# What amaranth.back.verilog has yosys do; called here because only toolchain.py starts processes.
_YOSYS_SCRIPT = (
    "read_rtlil top.il; proc -nomux -norom; memory_collect; "
    "attrmap -remove generator -remove src; write_verilog -norename top.v"
)
# The first file of the design: both simulators take its time unit for what follows.
_TIMESCALE = b"`timescale 1ns/1ps\n"
_VERILATOR_ARGUMENTS = (
    *("--cc", "--vpi", "--no-timing", "-O3", "-Wno-fatal", "-Wno-lint"),
    *("--top-module", "top", "--prefix", "Vtop", "-Mdir", "model"),
    *("ports.vlt", "timescale.v", "top.v"),
)
# The settings that Verilator's own makefile gives to the compiler.
_DEFINES = tuple(
    f"-D{name}={value}"
    for name, value in (
        ("VERILATOR", 1),
        ("VM_COVERAGE", 0),
        ("VM_SC", 0),
        ("VM_TIMING", 0),
        ("VM_TRACE", 0),
        ("VM_TRACE_FST", 0),
        ("VM_TRACE_SAIF", 0),
        ("VM_TRACE_VCD", 0),
    )
)
_CXX_FLAGS = ("-std=c++17", "-w", *_DEFINES)
# Compiling the runtime takes 5 s at -O0 and 10 s at -O1, which is a quarter faster at running; that pays only after
# half a million cycles.
_RUNTIME_FLAGS = (*_CXX_FLAGS, "-O0")
_MODEL_FLAGS = (*_CXX_FLAGS, "-O1")
_RUNTIME = "".join(
    f'#include "{name}.cpp"\n' for name in ("verilated", "verilated_dpi", "verilated_threads", "verilated_vpi")
)
_IVERILOG_ARGUMENTS = ("-g2012", "-s", "top", "-o", "top.vvp", "timescale.v", "top.v")
_LOG_TAIL_LINES = 20

_COCOTB_CONFIG = Tool(
    "cocotb-config",
    "COCOTB_CONFIG",
    (Executable("cocotb-config"),),
    'pip install "bitkiln[rtl]"',
)


class Simulator(Enum):
    """What runs the Verilog under cocotb."""

    VERILATOR = "verilator"
    ICARUS = "icarus"


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
        cache_folder = cache_folder or default_cache_folder()
        match simulator:
            case Simulator.VERILATOR:
                self.program = _verilated(self.design, cache_folder)
            case Simulator.ICARUS:
                self.program = _icarus(self.design, cache_folder)
            case _:
                assert_never(simulator)

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
        match self.simulator:
            case Simulator.VERILATOR:
                tool = Tool("the simulation", "", (Executable(str(self.program)),), "")
                arguments: tuple[str, ...] = ()
            case Simulator.ICARUS:
                tool = VVP
                arguments = ("-m", config.lib_entry("vpi", "icarus"), str(self.program), "-none")
            case _:
                assert_never(self.simulator)
        log = tool.run(arguments, self.run_folder, env=_cocotb_environment(self.run_folder)).log
        try:
            text = (self.run_folder / "result.json").read_text()
        except FileNotFoundError as error:
            tail = "\n".join(log.splitlines()[-_LOG_TAIL_LINES:])
            raise fail("tool-failed", f"cocotb gave no result in {self.run_folder}\n{tail}") from error
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


def _verilated(design: StreamDesign, cache_folder: Path) -> Path:
    """Return the program that Verilator and the C++ compiler make of the design, with cocotb's interface in it."""
    includes = _verilator_includes()
    versions = (YOSYS.version(), VERILATOR.version(), CXX.version())
    libraries = config.libs_dir
    link = (f"-Wl,-rpath,{libraries}", f"-L{libraries}", "-lcocotbvpi_verilator", "-pthread")

    def build_runtime(folder: Path) -> Path:
        CXX.run((*_RUNTIME_FLAGS, *includes, "-c", "runtime.cpp", "-o", "runtime.o"), folder)
        return folder / "runtime.o"

    def build(folder: Path) -> Path:
        YOSYS.run(("-q", "-p", _YOSYS_SCRIPT), folder)
        VERILATOR.run(_VERILATOR_ARGUMENTS, folder)
        # One compilation of all files together: most of the time goes into Verilator's headers.
        sources = sorted(str(file.relative_to(folder)) for file in (folder / "model").glob("*.cpp"))
        unity = [word for source in sources for word in ("-include", source)]
        main = config.share_dir / "lib" / "verilator" / "verilator.cpp"
        files = ("-Imodel", *unity, str(main), str(runtime), "-o", "simulation")
        CXX.run((*_MODEL_FLAGS, *includes, *files, *link), folder)
        return folder / "simulation"

    runtime_bundle = Bundle.of({"runtime.cpp": _RUNTIME.encode()})
    runtime = built(cache_folder, runtime_bundle, (*_RUNTIME_FLAGS, *versions), ".o", build_runtime)
    files = {"top.il": design.rtlil.encode(), "timescale.v": _TIMESCALE, "ports.vlt": _port_access(design)}
    identity = (_YOSYS_SCRIPT, *_VERILATOR_ARGUMENTS, *_MODEL_FLAGS, *link, cocotb.__version__, *versions)
    return built(cache_folder, Bundle.of(files), identity, "", build)


def _icarus(design: StreamDesign, cache_folder: Path) -> Path:
    def build(folder: Path) -> Path:
        YOSYS.run(("-q", "-p", _YOSYS_SCRIPT), folder)
        IVERILOG.run(_IVERILOG_ARGUMENTS, folder)
        return folder / "top.vvp"

    bundle = Bundle.of({"top.il": design.rtlil.encode(), "timescale.v": _TIMESCALE})
    identity = (_YOSYS_SCRIPT, *_IVERILOG_ARGUMENTS, YOSYS.version(), IVERILOG.version())
    return built(cache_folder, bundle, identity, ".vvp", build)


def _verilator_includes() -> tuple[str, ...]:
    root = VERILATOR.run(("--getenv", "VERILATOR_ROOT"), Path.cwd()).log.strip()
    return (f"-I{root}/include", f"-I{root}/include/vltstd")


def _port_access(design: StreamDesign) -> bytes:
    """Return the Verilator settings that let cocotb reach the ports and nothing else, so the rest is optimised."""
    lines = [f'public_flat_rw -module "top" -var "{name}"' for name in design.ports]
    return "\n".join(("`verilator_config", *lines, "")).encode()


def _cocotb_environment(run_folder: Path) -> dict[str, str]:
    """Return the variables by which cocotb finds Python, our test and the run folder inside the simulator."""
    libpython = _COCOTB_CONFIG.run(("--libpython",), run_folder).log.strip()
    python_path = (str(Path(bitkiln_bench.__file__).parent), os.environ.get("PYTHONPATH", ""))
    return {
        "BITKILN_RUN_FOLDER": str(run_folder),
        "COCOTB_RANDOM_SEED": "1",
        "COCOTB_RESULTS_FILE": str(run_folder / "results.xml"),
        "COCOTB_TEST_MODULES": bitkiln_bench.__name__.rpartition(".")[2],
        "COCOTB_TOPLEVEL": "top",
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "GPI_USERS": f"{libpython};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join(folder for folder in python_path if folder),
        "TOPLEVEL_LANG": "verilog",
    }
