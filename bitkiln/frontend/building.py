"""What `bitkiln build` does: a bitstream, or other weights in one. It imports little, for patching takes no longer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bitkiln.boards import Board, Family, find_board
from bitkiln.boards.clocks import board_at
from bitkiln.ir import Plan, fail, write_whole

from .planning import board_prediction, plain_folding, planned
from .steps import output_folder
from .terminal import Terminal, stopwatch, table

if TYPE_CHECKING:
    from bitkiln.hdl.build import BuildResult


def build_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """A bitstream in a folder."""
    from bitkiln.hdl.patch import record_path  # noqa: PLC0415

    board = find_board(arguments.board)
    if isinstance(arguments.clock, float):
        board = board_at(board, arguments.clock)
    plan = planned(arguments, board)[0]
    if round(plan.clock_hz) != board.clock_hz:
        message = f"--clock-mhz is {plan.clock_hz / 1e6}, but {board.name} runs at {board.clock_hz / 1e6}"
        raise fail("bad-value", message, hint="leave --clock-mhz out")
    if arguments.patch:
        return _patch(arguments, plan, board, terminal)
    prediction = board_prediction(plan, board)
    from bitkiln.sim.dataflow import dataflow_cycles  # noqa: PLC0415

    with output_folder(arguments.output), terminal.step("build"):
        built = _built(plan, board, arguments, terminal)
        file = arguments.output / f"{plan.graph.name}{Path(built.file_name).suffix}"
        write_whole(file, built.bitstream)
        if built.record:
            write_whole(record_path(file), built.record)
    used = {kind.value: {"used": built.used[kind], "available": count} for kind, count in built.available}
    plain = {"bitstream": str(file), "resources": used, "fmax_mhz": built.fmax_mhz, "clock_mhz": built.clock_mhz}
    rate = built.clock_mhz * 1e6 / dataflow_cycles(plan).interval
    plain |= {"images_per_second": rate, "caveat": built.caveat} | plain_folding(None, prediction, board)
    rows = [
        (kind.value, prediction.used[kind] if prediction else "", built.used[kind], count)
        for kind, count in built.available
    ]
    guess = f" (predicted {prediction.fmax_mhz:.1f})" if prediction and prediction.fmax_mhz else ""
    clock = f"Fmax {built.fmax_mhz:.1f} MHz{guess}, the clock is {built.clock_mhz:g} MHz: {rate:,.0f} images/s"
    caveat = [built.caveat] if built.caveat else []
    terminal.result(plain, table("", ("resource", "predicted", "used", "available"), rows), clock, *caveat, str(file))
    return 0


def _built(plan: Plan, board: Board, arguments: argparse.Namespace, terminal: Terminal) -> BuildResult:
    from bitkiln.hdl.build_plan import build_plan  # noqa: PLC0415
    from bitkiln.hdl.fastest_clock import build_fastest  # noqa: PLC0415

    def say(step: str) -> None:
        terminal.progress(step, 0)

    if arguments.clock == "fastest":
        return build_fastest(plan, board, on_step=say, use_dsp=not arguments.no_dsp)[1]
    return build_plan(plan, board, on_step=say, use_dsp=not arguments.no_dsp)


def _patch(arguments: argparse.Namespace, plan: Plan, board: Board, terminal: Terminal) -> int:
    """The weights of a plan in a finished bitstream."""
    from bitkiln.hdl.patch import PatchRecord, record_path  # noqa: PLC0415
    from bitkiln.hdl.plan_identity import patch_plan  # noqa: PLC0415

    if board.family is not Family.ICE40:
        message = f"weights can be put into finished bitstreams of iCE40, and {board.title} is {board.family.value}"
        raise fail("not-patchable", message, hint="leave --patch out; or let the host load them: --storage loaded")
    kept = record_path(arguments.patch)
    if not kept.is_file():
        message = f"{kept} is missing: the record of {arguments.patch}, by which bits of memories are found"
        raise fail("missing-file", message, hint="`bitkiln build --renewable` writes it beside the bitstream")
    old, record = arguments.patch.read_bytes(), PatchRecord.decode(kept.read_bytes(), str(kept))
    with output_folder(arguments.output), terminal.step("patch"):
        with stopwatch() as seconds:
            bitstream, record = patch_plan(plan, board, old, record)
        file = arguments.output / f"{plan.graph.name}.bin"
        write_whole(file, bitstream)
        write_whole(record_path(file), record.encode())
    plain = {"bitstream": str(file), "seconds": seconds[0], "memories": [name for name, _, _ in record.memories]}
    terminal.result(plain, f"new contents of {len(record.memories)} memories in {seconds[0]:.2f} s", str(file))
    return 0
