"""Verification below the RTL: the netlist, the routed design or the very bits of the bitstream.

All of them are netlists of the chip's cells with the pins of the board. The host's frames go in through the serial
port, bit by bit; every beat that comes back is compared with the golden model's, the latency that the chip counts with
the predicted one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import numpy as np
from torch import Tensor

from bitkiln.boards import Board, Family
from bitkiln.boards.baud import cycles_per_bit
from bitkiln.ir import Plan, ToolError, fail
from bitkiln.sim.dataflow import dataflow_cycles

from .beats import pack, pack_outputs
from .build import BuildResult
from .build_plan import build_plan, constraints_of, netlist_of_plan
from .compare import Mismatches, compare
from .harness import CXX_FLAGS
from .host import Device
from .ice40_extract import extract
from .netlist import netlist_design
from .plan_identity import plan_digest
from .protocol import BITS_PER_BYTE, inference_bytes, stream_formats
from .toolchain import ICEUNPACK
from .trace import Trace
from .uart_simulation import UartSimulation
from .verification import Level, RtlSimulator, Verification
from .verify import golden_codes, too_few
from .weights import weights_of

_ATTEMPTS = 1
# g++ takes three times as long for code that runs fifteen times as fast.
QUICK_COMPILE = ("-O0",)
# Cycles that take as long as compiling well: 45,000 of a small design, 125,000 of a large one.
_WORTH_COMPILING_WELL = 100_000
_SPARE_CYCLES = 200_000  # for an answer that is late: far more than a frame takes at any baud rate of a board


def verify_built(
    plan: Plan,
    samples: Tensor,
    board: Board,
    level: Level,
    images: int,
    *,
    bitstream: bytes | None = None,
    cache: Path | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> Verification:
    """Build the plan for `board` and verify `level` with the first `images` of `samples`, one at a time.

    `bitstream` is verified instead of building one. For the level `netlist` nothing is placed and routed.

    The levels `routed` and `bitstream` are for iCE40, whose designs are then built without multiplier blocks. Raises
    `wrong-level`, `too-few-samples`, `cannot-extract`, `bad-bitstream`, and what building raises.
    """
    if board.family is not Family.ICE40 and level is not Level.NETLIST:
        message = f"the level {level.value} is for iCE40, and {board.title} is {board.family.value}"
        raise fail("wrong-level", message, hint="--level netlist")
    too_few(samples, images)
    netlist = _netlist(plan, board, level, bitstream, cache, on_step)
    on_step(f"compile the {level.value}")
    bit_cycles = cycles_per_bit(board.clock_hz, board.baud)
    folder = cache / "sim" if cache else None
    patience = _SPARE_CYCLES + 10 * dataflow_cycles(plan).latency
    design = netlist_design(netlist, board)
    flags = QUICK_COMPILE if images * _image_cycles(plan, bit_cycles) < _WORTH_COMPILING_WELL else CXX_FLAGS
    simulation = UartSimulation(design, bit_cycles, patience_cycles=patience, cache_folder=folder, cxx_flags=flags)
    on_step(f"send {images} images")
    return _compared(plan, samples[:images], Device(simulation, timeout_s=0, attempts=_ATTEMPTS), simulation, level)


def _image_cycles(plan: Plan, bit_cycles: int) -> int:
    """Return about how many cycles an image takes: its bytes on the line, and its latency."""
    return inference_bytes(*stream_formats(plan)) * BITS_PER_BYTE * bit_cycles + dataflow_cycles(plan).latency


def _netlist(
    plan: Plan, board: Board, level: Level, bitstream: bytes | None, cache: Path | None, on_step: Callable[[str], None]
) -> bytes:
    if bitstream is not None:
        return _extracted(unpacked(bitstream), plan, board)

    def build() -> BuildResult:
        return build_plan(plan, board, cache=cache, on_step=on_step, use_dsp=False)

    match level:
        case Level.NETLIST:
            return netlist_of_plan(plan, board, cache=cache, on_step=on_step)
        case Level.ROUTED:
            return _extracted(build().routed.decode(), plan, board)
        case Level.BITSTREAM:
            return _extracted(unpacked(build().bitstream), plan, board)
        case Level.RTL | Level.IP:
            raise AssertionError("verify_plan verifies the RTL")
    assert_never(level)


def unpacked(bitstream: bytes) -> str:
    """Return the bits of a bitstream for iCE40 as text. Raises `bad-bitstream`."""
    with tempfile.TemporaryDirectory(prefix="bitkiln-unpack-") as folder:
        Path(folder, "top.bin").write_bytes(bitstream)
        result = ICEUNPACK.run(("top.bin", "top.asc"), Path(folder), check=False)
        if result.returncode != 0:
            said = result.log.strip().splitlines()[-1:] or ["nothing"]
            message = f"this is no whole bitstream for iCE40; iceunpack said: {said[0]}"
            raise fail("bad-bitstream", message, hint="`bitkiln build` makes it again")
        return Path(folder, "top.asc").read_text()


def _extracted(text: str, plan: Plan, board: Board) -> bytes:
    return extract(text, constraints_of(plan, board), board.device, board.package).encode()


def _compared(plan: Plan, samples: Tensor, device: Device, simulation: UartSimulation, level: Level) -> Verification:
    codes, golden = golden_codes(plan, samples)
    came, latencies, broken = _run(plan, device, codes[:, plan.input_order])
    latency = dataflow_cycles(plan).latency
    answered = len(latencies)
    beats = plan.stream[plan.output_stream].beats
    found: Mismatches | None = None
    if answered:
        outputs = pack(came, plan.stream[plan.output_stream])
        nothing = np.zeros(0, np.int64)
        trace = Trace(outputs, nothing, nothing, simulation.cycles)
        found = compare(trace, pack_outputs(plan, golden[:answered]))
    wrong_latencies = sum(one != latency for one in latencies)
    missing = len(golden) - answered
    texts = [str(found)] if found and not found.is_match else []
    texts += [f"{wrong_latencies} images took another number of cycles than predicted"] if wrong_latencies else []
    texts += [f"image {answered} had no result: {broken.diagnostics[0].message}"] if broken else []
    return Verification(
        images=len(golden),
        mismatches=(found.wrong_beats if found else 0) + missing * beats,
        cycle_mismatches=wrong_latencies,
        rtl_latency=latencies[0] if latencies else 0,
        rtl_interval=0,
        predicted_latency=latency,
        predicted_interval=0,
        simulator=RtlSimulator.COMPILED,
        back_pressure_images=0,
        cycles=simulation.cycles,
        findings="\n".join(texts),
        level=level,
    )


def _run(
    plan: Plan, device: Device, images: np.ndarray[tuple[int, int], np.dtype[np.int64]]
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], list[int], ToolError | None]:
    """Return the codes that came, in the order of the stream, the latencies, and the error that ended it early."""
    came: list[tuple[int, ...]] = []
    latencies: list[int] = []
    try:
        if device.identify().design_digest != plan_digest(plan):
            raise fail("wrong-design", "the chip says that it holds another design")
        weights = weights_of(plan)
        if weights.data:
            device.load(weights)
        for image in images.tolist():
            result = device.infer(image)
            came.append(result.codes)
            latencies.append(result.latency_cycles)
    except ToolError as error:
        return np.array(came, np.int64), latencies, error
    return np.array(came, np.int64), latencies, None
