"""Compiles a design with cocotb's interface in it and runs a test of bitkiln/hdl/cocotb_bench on it.

Verilator's C++ is compiled here, not by its makefile: its runtime, four fifths of the work, is the same for every
design and compiled once, and the makefile of the PyPI wheel needs settings that these two commands do not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import assert_never

import cocotb
from cocotb_tools import config

from bitkiln.ir import fail

from . import cocotb_bench
from ._artefacts import built
from .bundle import Bundle
from .program_places import Executable
from .toolchain import CXX, IVERILOG, VERILATOR, VVP, YOSYS, Tool
from .verilog import TO_VERILOG

# The first file of the design: both simulators take its time unit for what follows.
_TIMESCALE = b"`timescale 1ns/1ps\n"
_VERILATOR_ARGUMENTS = (
    *("--cc", "--vpi", "--no-timing", "-O3", "-Wno-fatal", "-Wno-lint"),
    *("--prefix", "Vtop", "-Mdir", "model"),
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
_IVERILOG_ARGUMENTS = ("-g2012", "-o", "top.vvp", "timescale.v", "top.v")
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


@dataclass(frozen=True)
class CocotbDesign:
    """RTLIL whose module `top` cocotb drives by its `ports`."""

    rtlil: str
    top: str
    ports: tuple[str, ...]


def cocotb_program(design: CocotbDesign, simulator: Simulator, cache_folder: Path) -> Path:
    """Return the compiled design, from the cache if it is there. Raises `missing-tool`, `tool-failed`."""
    match simulator:
        case Simulator.VERILATOR:
            return _verilated(design, cache_folder)
        case Simulator.ICARUS:
            return _icarus(design, cache_folder)
        case _:
            assert_never(simulator)


def run_cocotb(program: Path, simulator: Simulator, top: str, test: str, run_folder: Path) -> str:
    """Run the tests of the module `test` on a compiled design; return the result.json that they wrote there."""
    match simulator:
        case Simulator.VERILATOR:
            tool = Tool("the simulation", "", (Executable(str(program)),), "")
            arguments: tuple[str, ...] = ()
        case Simulator.ICARUS:
            tool = VVP
            arguments = ("-m", config.lib_entry("vpi", "icarus"), str(program), "-none")
        case _:
            assert_never(simulator)
    log = tool.run(arguments, run_folder, env=_environment(top, test, run_folder)).log
    try:
        return (run_folder / "result.json").read_text()
    except FileNotFoundError as error:
        tail = "\n".join(log.splitlines()[-_LOG_TAIL_LINES:])
        raise fail("tool-failed", f"cocotb gave no result in {run_folder}\n{tail}") from error


def _verilated(design: CocotbDesign, cache_folder: Path) -> Path:
    """Return the program that Verilator and the C++ compiler make of the design, with cocotb's interface in it."""
    includes = _verilator_includes()
    versions = (YOSYS.version(), VERILATOR.version(), CXX.version())
    libraries = config.libs_dir
    link = (f"-Wl,-rpath,{libraries}", f"-L{libraries}", "-lcocotbvpi_verilator", "-pthread")
    arguments = ("--top-module", design.top, *_VERILATOR_ARGUMENTS)

    def build_runtime(folder: Path) -> Path:
        CXX.run((*_RUNTIME_FLAGS, *includes, "-c", "runtime.cpp", "-o", "runtime.o"), folder)
        return folder / "runtime.o"

    def build(folder: Path) -> Path:
        YOSYS.run(("-q", "-p", TO_VERILOG), folder)
        VERILATOR.run(arguments, folder)
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
    identity = (TO_VERILOG, *arguments, *_MODEL_FLAGS, *link, cocotb.__version__, *versions)
    return built(cache_folder, Bundle.of(files), identity, "", build)


def _icarus(design: CocotbDesign, cache_folder: Path) -> Path:
    arguments = ("-s", design.top, *_IVERILOG_ARGUMENTS)

    def build(folder: Path) -> Path:
        YOSYS.run(("-q", "-p", TO_VERILOG), folder)
        IVERILOG.run(arguments, folder)
        return folder / "top.vvp"

    bundle = Bundle.of({"top.il": design.rtlil.encode(), "timescale.v": _TIMESCALE})
    identity = (TO_VERILOG, *arguments, YOSYS.version(), IVERILOG.version())
    return built(cache_folder, bundle, identity, ".vvp", build)


def _verilator_includes() -> tuple[str, ...]:
    root = VERILATOR.run(("--getenv", "VERILATOR_ROOT"), Path.cwd()).log.strip()
    return (f"-I{root}/include", f"-I{root}/include/vltstd")


def _port_access(design: CocotbDesign) -> bytes:
    """Return the Verilator settings that let cocotb reach the ports and nothing else, so the rest is optimised."""
    lines = [f'public_flat_rw -module "{design.top}" -var "{name}"' for name in design.ports]
    return "\n".join(("`verilator_config", *lines, "")).encode()


def _environment(top: str, test: str, run_folder: Path) -> dict[str, str]:
    """Return the variables by which cocotb finds Python, our test and the run folder inside the simulator."""
    libpython = _COCOTB_CONFIG.run(("--libpython",), run_folder).log.strip()
    python_path: Sequence[str] = (*cocotb_bench.__path__, os.environ.get("PYTHONPATH", ""))
    return {
        "BITKILN_RUN_FOLDER": str(run_folder),
        "COCOTB_RANDOM_SEED": "1",
        "COCOTB_RESULTS_FILE": str(run_folder / "results.xml"),
        "COCOTB_TEST_MODULES": test,
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "GPI_USERS": f"{libpython};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join(folder for folder in python_path if folder),
        "TOPLEVEL_LANG": "verilog",
    }
