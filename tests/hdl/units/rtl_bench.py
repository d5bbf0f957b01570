"""Runs one unit's RTL in Amaranth's own simulator and compares every bit and every cycle with its declaration."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason='RTL needs pip install "bitkiln[rtl]"')

from amaranth.sim import Simulator

from bitkiln.hdl.accelerator import stream_accelerator
from bitkiln.ir import Builder, Float, Plan, Stage, Stream, TensorType
from bitkiln.ir.ops import Relu
from bitkiln.ir.units import Beat, Unit
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.image_cycles import depends_on_codes, image_output_cycles

Codes = NDArray[np.int64]
MAX_CYCLES = 100_000


@dataclass(frozen=True)
class Run:
    """Beats that came out, and the cycles of all beats, counted from the first accepted input beat."""

    outputs: list[int]
    output_cycles: list[int]
    input_cycles: list[int]


def single_unit_plan(unit: Unit, beats_in: int, beats_out: int, depth_in: int, depth_out: int) -> Plan:
    """A Plan of one unit; its graph is a stand-in that nothing reads."""
    build = Builder("unit")
    x = build.input("x", TensorType((1, 1), Float()))
    graph = build.graph((build.add(Relu(), (x,), "y"),))
    streams = (Stream("x", unit.inputs[0], beats_in, depth_in), Stream("y", unit.outputs[0], beats_out, depth_out))
    stage = Stage("unit", unit, ("x",), ("y",), "y")
    return Plan(graph, (stage,), streams, "x", "y", "x", "y", np.arange(beats_in), np.arange(beats_out), 1e6)


def pack(codes: Codes, beat: Beat) -> list[int]:
    """Codes in stream order to beats."""
    rows = codes.reshape(-1, beat.lanes).tolist()
    return [sum(beat.field(code) << (n * beat.bits) for n, code in enumerate(row)) for row in rows]


def unpack(beats: list[int], beat: Beat) -> Codes:
    """Beats to codes in stream order."""
    codes = [beat.code(word >> (n * beat.bits)) for word in beats for n in range(beat.lanes)]
    return np.array(codes, np.int64)


def simulate(plan: Plan, beats: list[int], expected: int, back_pressure: random.Random | None) -> Run:
    """Stream `beats` in until `expected` beats came out; random valid and ready if asked, else always."""
    top, run = stream_accelerator(plan), Run([], [], [])

    async def bench(ctx: object) -> None:
        get, put = ctx.get, ctx.set  # type: ignore[attr-defined]  # amaranth is untyped
        is_offered, cycle = False, 0
        while len(run.outputs) < expected:
            sent = len(run.input_cycles)
            chance = back_pressure is None or back_pressure.random() < 0.5
            is_offered = is_offered or (sent < len(beats) and chance)
            put(top.i.valid, is_offered)
            if is_offered:
                put(top.i.payload, beats[sent])
            put(top.o.ready, back_pressure is None or back_pressure.random() < 0.5)
            if is_offered and get(top.i.ready):
                run.input_cycles.append(cycle)
                is_offered = False
            if get(top.o.valid) and get(top.o.ready):
                run.outputs.append(get(top.o.payload))
                run.output_cycles.append(cycle)
            await ctx.tick()  # type: ignore[attr-defined]
            cycle += 1
            assert cycle < MAX_CYCLES, f"{len(run.outputs)} of {expected} beats after {cycle} cycles"

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    zero = run.input_cycles[0]
    return Run(run.outputs, [c - zero for c in run.output_cycles], [c - zero for c in run.input_cycles])


def check(plan: Plan, codes: Codes, expected: Codes) -> None:
    """Demand equal bits, equal cycles, and equal bits again under random back-pressure. Axis 0 of `codes` is images."""
    source, sink = plan.stream[plan.input_stream], plan.stream[plan.output_stream]
    beats, images = pack(codes, source.beat), len(codes)
    run = simulate(plan, beats, sink.beats * images, None)
    assert unpack(run.outputs, sink.beat).tolist() == expected.reshape(-1).tolist()
    if depends_on_codes(plan):
        assert image_output_cycles(plan, codes.reshape(images, -1)).reshape(-1).tolist() == run.output_cycles
        assert simulate(plan, beats, sink.beats * images, random.Random(1)).outputs == run.outputs
        return
    cycles = dataflow_cycles(plan)
    assert cycles.output_cycles(images).reshape(-1).tolist() == run.output_cycles
    predicted = cycles.input_cycles(images).reshape(-1).tolist()
    assert predicted[: len(run.input_cycles)] == run.input_cycles
    assert cycles.latency == run.output_cycles[sink.beats - 1] + 1
    assert simulate(plan, beats, sink.beats * images, random.Random(1)).outputs == run.outputs
