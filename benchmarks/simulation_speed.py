"""How fast the two harnesses simulate an array of 64 multiply-accumulate units, and how long each takes to build; and
how much faster the cycle model is than the RTL that it predicts.

    python benchmarks/simulation_speed.py          # what bitkiln uses
    python benchmarks/simulation_speed.py --all    # and the compilers and options it could use

The generated design is a linear layer of 256 inputs and 64 outputs, 8 bits, 64 multiply-accumulate units as 8 rows of 8
columns: an image takes 256 cycles. Both sides give the cycle of every output beat of all images, and they are compared.

Times are CPU seconds, so that a busy machine gives nearly the same table. Each build starts from an empty cache folder;
the beats are random, the streams always willing. Run it twice with --all: the first use of zig on a machine also builds
its C++ library (a minute or more).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from amaranth.back import rtlil
from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, signed
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from rich.console import Console
from rich.table import Table

from bitkiln.hdl.accelerator import Accelerator
from bitkiln.hdl.bench import CocotbSimulation
from bitkiln.hdl.harness import CompiledSimulation
from bitkiln.ir import Builder, Int, Plan, TensorType
from bitkiln.ir.ops import Linear, Requantise
from bitkiln.passes.schedule import LayerFolding, PlanOptions, schedule
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.queues import size_queues

UNITS = 64
ROWS = 256
ACCUMULATOR_BITS = 24
COMPILED_BEATS = 4096 * ROWS
COCOTB_BEATS = 512 * ROWS
IMAGES = 60_000
MODEL_RUNS = 20
ZIG = f"{sys.executable} -m ziglang c++"


class MacArray(wiring.Component):
    """Multiplies each of ROWS inputs by UNITS weights, adds them up, and shifts the sums out, `lanes` a beat."""

    def __init__(self, lanes: int) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(ACCUMULATOR_BITS * lanes))})
        self.lanes = lanes

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        weights = np.random.default_rng(1).integers(0, 256, (ROWS, UNITS), dtype=np.uint8)
        rows = [int.from_bytes(row.tobytes(), "little") for row in weights]
        m.submodules.weights = store = memory.Memory(shape=8 * UNITS, depth=ROWS, init=rows)
        port = store.read_port()
        data = Signal(signed(8), reset_less=True)
        has_data, is_first, is_last, is_full = Signal(), Signal(init=1), Signal(), Signal()
        shifts_left = Signal(range(UNITS // self.lanes + 1))
        sums = [Signal(signed(ACCUMULATOR_BITS), name=f"sum{unit}", reset_less=True) for unit in range(UNITS)]
        chain = [Signal(ACCUMULATOR_BITS, name=f"chain{unit}", reset_less=True) for unit in range(UNITS)]
        is_accepted = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~(has_data & is_last) & ~is_full),
            port.en.eq(is_accepted),
            self.o.valid.eq(shifts_left != 0),
            self.o.payload.eq(Cat(chain[: self.lanes])),
        ]
        m.d.sync += has_data.eq(is_accepted)
        with m.If(is_accepted):
            m.d.sync += [data.eq(self.i.payload), is_last.eq(port.addr == ROWS - 1), port.addr.eq(port.addr + 1)]
        with m.If(has_data):
            m.d.sync += [is_first.eq(is_last), is_full.eq(is_last)]
            for unit, total in enumerate(sums):
                product = data * port.data.word_select(unit, 8).as_signed()
                m.d.sync += total.eq(Mux(is_first, 0, total) + product)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += shifts_left.eq(shifts_left - 1)
            m.d.sync += [unit.eq(above) for unit, above in zip(chain, chain[self.lanes :], strict=False)]
        with m.Elif(is_full & (shifts_left == 0)):
            m.d.sync += [shifts_left.eq(UNITS // self.lanes), is_full.eq(0)]
            m.d.sync += [unit.eq(total) for unit, total in zip(chain, sums, strict=True)]
        return m


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler for the compiled harness; an empty command is the one that bitkiln finds."""

    name: str
    command: str
    flags: tuple[str, ...] | None


@dataclass(frozen=True)
class Measurement:
    """CPU seconds from RTLIL to a program that is ready to run, and of a run with the start of its process."""

    build_s: float
    cycles: int
    run_s: float


DEFAULT = Compiler("default", "", None)
CANDIDATES = (
    Compiler("g++ -O0", "g++", ("-O0",)),
    Compiler("g++ -O1", "g++", ("-O1",)),
    Compiler("g++ -O2", "g++", ("-O2",)),
    Compiler("g++ -O3", "g++", ("-O3",)),
    Compiler("zig -O1", ZIG, ("-O1",)),
    Compiler("zig -O2", ZIG, ("-O2",)),
)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those it waited for: other jobs on the machine hardly change it."""
    return sum(os.times()[:4])


def random_beats(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return `count` random beats of one byte."""
    return np.random.default_rng(2).integers(0, 256, (count, 1), dtype=np.uint8)


def measure_compiled(text: str, lanes: int, compiler: Compiler, folder: Path) -> Measurement:
    """Build and run with the compiled harness."""
    if compiler.command:
        os.environ["CXX"] = compiler.command
    else:
        os.environ.pop("CXX", None)
    started = cpu_seconds()
    if compiler.flags is None:
        simulation = CompiledSimulation(text, cache_folder=folder)
    else:
        simulation = CompiledSimulation(text, cache_folder=folder, cxx_flags=compiler.flags)
    built = cpu_seconds()
    outputs = COMPILED_BEATS // ROWS * UNITS // lanes
    trace = simulation.run(random_beats(COMPILED_BEATS), outputs, max_cycles=2 * COMPILED_BEATS)
    return Measurement(built - started, trace.cycles, cpu_seconds() - built)


def measure_cocotb(text: str, lanes: int, folder: Path) -> Measurement:
    """Build and run with cocotb on Verilator, its runtime already compiled."""
    os.environ.pop("CXX", None)
    CocotbSimulation(rtlil.convert(MacArray(UNITS), name="top"), run_folder=folder / "run", cache_folder=folder)
    started = cpu_seconds()
    simulation = CocotbSimulation(text, run_folder=folder / "run", cache_folder=folder)
    built = cpu_seconds()
    outputs = COCOTB_BEATS // ROWS * UNITS // lanes
    trace = simulation.run(random_beats(COCOTB_BEATS), outputs, max_cycles=2 * COCOTB_BEATS)
    return Measurement(built - started, trace.cycles, cpu_seconds() - built)


def linear_plan() -> Plan:
    """Return the plan of the linear layer, folded to UNITS multipliers."""
    build = Builder("linear")
    x = build.input("x", TensorType((1, ROWS), Int(8)))
    codes = torch.randint(-128, 128, (UNITS, ROWS), generator=torch.Generator().manual_seed(1)).to(torch.int8)
    weight = build.constant("w", TensorType((UNITS, ROWS), Int(8)), codes)
    y = build.add(Linear(), (x, weight), "fc")
    graph = build.graph((build.add(Requantise(Int(8, True, -8), (8,)), (y,), "y"),))
    wanted = LayerFolding("fc", pe=8, simd=UNITS // 8)
    return size_queues(schedule(graph, PlanOptions(max_multipliers=UNITS, layers=(wanted,))))


def compare_with_model() -> None:
    """Print the speed of the RTL and of the cycle model, and that they say the same."""
    plan = linear_plan()
    with tempfile.TemporaryDirectory() as folder:
        simulation = CompiledSimulation(Accelerator(plan), cache_folder=Path(folder))
        source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
        beats = random_beats(IMAGES * ROWS).reshape(-1, source.beat.lanes)
        started = cpu_seconds()
        trace = simulation.run(beats, IMAGES * sink.beats, max_cycles=2 * IMAGES * ROWS)
        rtl_s = cpu_seconds() - started
    started = cpu_seconds()
    for _ in range(MODEL_RUNS):
        predicted = dataflow_cycles(plan).output_cycles(IMAGES)
    model_s = (cpu_seconds() - started) / MODEL_RUNS
    is_equal = bool((predicted.reshape(-1) == trace.output_cycles - trace.input_cycles[0]).all())
    print(
        f"linear layer of {plan.multipliers} multiply-accumulate units, {IMAGES:,} images, {trace.cycles:,} cycles: "
        f"RTL {rtl_s:.2f} CPU s ({trace.cycles / rtl_s / 1e6:.2f} M cycles/s), "
        f"cycle model {model_s * 1e3:.2f} CPU ms ({rtl_s / model_s:,.0f} times faster); "
        f"the cycles of all output beats are {'equal' if is_equal else 'NOT EQUAL'}"
    )


def main() -> None:
    """Print one table: a row for each harness, compiler and output width; then the cycle model's speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="also measure other compilers and options")
    compilers = (DEFAULT, *CANDIDATES) if parser.parse_args().all else (DEFAULT,)
    table = Table(title=f"{UNITS} multiply-accumulate units, {ROWS} rows of weights")
    for heading in ("harness", "compiler", "output bits", "build CPU s", "cycles", "kcycles/CPU s"):
        table.add_column(heading, justify="left" if heading in ("harness", "compiler") else "right")
    for lanes in (1, 16):
        text = rtlil.convert(MacArray(lanes), name="top", emit_src=False)
        rows: list[tuple[str, str, Measurement]] = []
        with tempfile.TemporaryDirectory() as folder:
            for compiler in compilers:
                found = measure_compiled(text, lanes, compiler, Path(folder) / compiler.name)
                rows.append(("compiled", compiler.name, found))
            rows.append(("cocotb", "default", measure_cocotb(text, lanes, Path(folder) / "cocotb")))
        for harness, name, found in rows:
            speed = f"{found.cycles / found.run_s / 1e3:.0f}"
            width = str(ACCUMULATOR_BITS * lanes)
            table.add_row(harness, name, width, f"{found.build_s:.1f}", str(found.cycles), speed)
    Console().print(table)
    compare_with_model()


if __name__ == "__main__":
    main()
