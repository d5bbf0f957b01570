"""The cocotb test that `bitkiln.hdl.bench` runs: streams the beats of a run folder through `top`, by flow.py's rules.

Read from the folder named by BITKILN_RUN_FOLDER: request.json and beats.npy. Written there: outputs.npy,
input_cycles.npy and output_cycles.npy, then result.json.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, SupportsInt

import cocotb
import numpy as np
from cocotb.triggers import Timer
from numpy.typing import NDArray


@dataclass(frozen=True)
class Request:
    """What to run; the fields are explained in bitkiln/hdl/flow.py and stream_design.py."""

    input_bits: int
    output_bits: int
    has_clock: bool
    has_reset: bool
    output_beats: int
    max_cycles: int
    first_state: int
    valid_per_256: int
    ready_per_256: int
    reset_cycles: int
    drain_cycles: int


@dataclass(frozen=True)
class Result:
    """How a run ended: the name of a `bitkiln.hdl.trace.Outcome`, and the fields of its `Progress`."""

    outcome: str
    inputs_accepted: int
    outputs_accepted: int
    cycle: int


class Xorshift32:
    """The generator of flow.py; the C++ driver has the same one."""

    def __init__(self, first_state: int) -> None:
        self.state = first_state

    def draw(self) -> int:
        self.state ^= self.state << 13 & 0xFFFFFFFF
        self.state ^= self.state >> 17
        self.state ^= self.state << 5 & 0xFFFFFFFF
        return self.state


class Port(Protocol):
    """What we use of a cocotb handle; `value` reads as Logic or LogicArray and is set to integers."""

    value: SupportsInt


class Top(Protocol):
    """The ports of the accelerator; `clk` and `rst` exist if the request says so."""

    clk: Port
    rst: Port
    i__payload: Port
    i__valid: Port
    i__ready: Port
    o__payload: Port
    o__valid: Port
    o__ready: Port


class Run:
    """One run, a cycle at a time; the counterpart of the class Simulation in templates/bench."""

    def __init__(self, top: Top, request: Request, beats: NDArray[np.uint8]) -> None:
        self.request = request
        self.input_payload, self.input_valid, self.input_ready = top.i__payload, top.i__valid, top.i__ready
        self.output_payload, self.output_valid, self.output_ready = top.o__payload, top.o__valid, top.o__ready
        self.clock = top.clk if request.has_clock else None
        self.reset_port = top.rst if request.has_reset else None
        self.half_cycle = Timer(1, "ns")
        self.beats = [int.from_bytes(beat.tobytes(), "little") for beat in beats]
        self.idle_payload = (1 << request.input_bits) - 1
        self.generator = Xorshift32(request.first_state)
        self.cycle = 0
        self.outputs: list[int] = []
        self.input_cycles: list[int] = []
        self.output_cycles: list[int] = []
        self.is_offering = False
        self.is_sink_ready = False
        self.stalled_output: int | None = None
        self.driven: dict[Port, int] = {}

    def drive(self, port: Port, value: int) -> None:
        """Set a port; a write that changes nothing is left out, because each one costs microseconds."""
        if self.driven.get(port) != value:
            self.driven[port] = value
            port.value = value

    def drive_clock(self, value: int) -> None:
        if self.clock is not None:
            self.clock.value = value

    def drive_reset(self, value: int) -> None:
        if self.reset_port is not None:
            self.reset_port.value = value

    async def reset(self) -> None:
        self.drive(self.input_valid, 0)
        self.drive(self.input_payload, self.idle_payload)
        self.drive(self.output_ready, 0)
        self.drive_reset(1)
        for _ in range(self.request.reset_cycles):
            self.drive_clock(0)
            await self.half_cycle
            self.drive_clock(1)
            await self.half_cycle
        self.drive_reset(0)

    def is_done(self) -> bool:
        return len(self.input_cycles) == len(self.beats) and len(self.outputs) == self.request.output_beats

    async def run(self) -> str:
        await self.reset()
        while not self.is_done():
            if self.cycle == self.request.max_cycles:
                return "TOO_MANY_CYCLES"
            if failure := await self.run_cycle():
                return failure
        cycles = self.cycle
        while self.cycle < cycles + self.request.drain_cycles:
            if failure := await self.run_cycle():
                return failure
        self.cycle = cycles
        return "FINISHED"

    def drive_streams(self) -> None:
        drawn = self.generator.draw()
        has_beat = len(self.input_cycles) < len(self.beats)
        self.is_offering = self.is_offering or (has_beat and drawn >> 24 < self.request.valid_per_256)
        payload = self.beats[len(self.input_cycles)] if self.is_offering else self.idle_payload
        self.drive(self.input_valid, int(self.is_offering))
        self.drive(self.input_payload, payload)
        self.is_sink_ready = drawn >> 16 & 0xFF < self.request.ready_per_256
        self.drive(self.output_ready, int(self.is_sink_ready))

    async def run_cycle(self) -> str:
        """Run one cycle; return the name of the failed outcome, or an empty string."""
        self.drive_streams()
        self.drive_clock(0)
        await self.half_cycle
        output = int(self.output_payload.value) if int(self.output_valid.value) else None
        if self.stalled_output is not None and output != self.stalled_output:
            return "UNSTABLE_OUTPUT"
        if output is not None and len(self.outputs) == self.request.output_beats:
            return "SURPLUS_OUTPUT"
        self.stalled_output = None if self.is_sink_ready else output
        if self.is_offering and int(self.input_ready.value):
            self.input_cycles.append(self.cycle)
            self.is_offering = False
        if output is not None and self.is_sink_ready:
            self.outputs.append(output)
            self.output_cycles.append(self.cycle)
        self.drive_clock(1)
        await self.half_cycle
        self.cycle += 1
        return ""

    def output_array(self) -> NDArray[np.uint8]:
        width = (self.request.output_bits + 7) // 8
        joined = b"".join(output.to_bytes(width, "little") for output in self.outputs)
        return np.frombuffer(joined, np.uint8).reshape(-1, width)


@cocotb.test()
async def stream_beats(top: Top) -> None:
    """Run the request of the run folder; its failure is a result, not a failed test."""
    folder = Path(os.environ["BITKILN_RUN_FOLDER"])
    request = Request(**json.loads((folder / "request.json").read_text()))
    run = Run(top, request, np.load(folder / "beats.npy"))
    outcome = await run.run()
    np.save(folder / "outputs.npy", run.output_array())
    np.save(folder / "input_cycles.npy", np.array(run.input_cycles, np.int64))
    np.save(folder / "output_cycles.npy", np.array(run.output_cycles, np.int64))
    result = Result(outcome, len(run.input_cycles), len(run.outputs), run.cycle)
    (folder / "result.json").write_text(json.dumps(asdict(result)))
