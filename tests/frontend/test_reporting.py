"""The report that is put together from what the steps left behind."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitkiln.boards import ICEBREAKER, Resources
from bitkiln.frontend.commands import summary
from bitkiln.frontend.pipeline import ACCURACY, BUILD, FLOAT_GRAPH, GRAPH, REPORT_HTML, VERIFY, Built, Pipeline
from bitkiln.frontend.project import load_project
from bitkiln.frontend.recipe import options_text
from bitkiln.frontend.reporting import assemble_report, link_rate
from bitkiln.hdl.verification import RtlSimulator, Verification
from bitkiln.ir import to_plain
from bitkiln.passes import Quantise
from bitkiln.passes.prune import LayerDensity, Prune
from tests.projects import Outcome, Tiny

Run = Callable[..., Outcome]


@pytest.fixture
def project(tiny: Tiny, tmp_path: Path, bitkiln: Run) -> Path:
    """A project for a board, compressed, with the graph's predictions still to be made."""
    project = tiny.copy(tmp_path / "project")
    project.write_text(project.read_text() + '[build]\nboard = "icebreaker"\n')
    assert bitkiln("run", project, "--until", "compress").code == 0
    return project


def keep(pipeline: Pipeline, name: str, content: object) -> None:
    (pipeline.folder / name).write_text(json.dumps(to_plain(content)))


def verified(pipeline: Pipeline) -> Verification:
    """What a verification without findings would have left."""
    latency, interval = pipeline.design.latency_cycles, pipeline.design.interval_cycles
    return Verification(
        4, 0, 0, latency, interval, latency, interval, RtlSimulator.COMPILED, 4, latency + 3 * interval, ""
    )


def report_of(project: Path) -> dict[str, Any]:
    text, page = assemble_report(Pipeline(load_project(project)))
    assert page.startswith("<!doctype html>")
    report: dict[str, Any] = json.loads(text)
    return report


def test_steps_that_were_not_run_are_null(project: Path) -> None:
    report = report_of(project)
    assert report["model"]["params"] == 4 * 9 + 4 + 10 * 36 + 10
    assert report["accuracy"]["images"] == 364
    assert report["cycles"]["latency"] > report["cycles"]["interval"] > 0
    assert report["cycles"]["rtl_latency"] is None
    assert report["verify"] == {"images": None, "mismatches": None, "simulator": None}
    assert report["bitstream"] == {"path": None, "bytes": None}
    assert report["resources"]["lut"] == {"used": None, "available": 5280}
    install, run = report["commands"]
    assert run == "bitkiln run project/project.toml"
    assert f"torch=={importlib.metadata.version('torch').partition('+')[0]}" in install.split()
    assert set(report["digests"]) == {
        "project.toml",
        "weights.safetensors",
        "model.graph.safetensors",
        "compressed.kiln",
    }
    assert report["digests"]["project.toml"] == hashlib.sha256(project.read_bytes()).hexdigest()


def test_accuracy_after_each_pass(project: Path) -> None:
    report = report_of(project)
    imported, quantised = report["recipe"]
    assert (imported["name"], imported["options"], imported["accuracy"]) == ("import", "", report["accuracy"]["float"])
    assert (quantised["name"], quantised["options"]) == ("quantise", "")
    assert quantised["accuracy"] == report["accuracy"]["golden"]
    assert quantised["constant_bits"] < imported["constant_bits"] == 32 * imported["params"]


def test_options_are_written_as_toml() -> None:
    entries = (LayerDensity("fc", 0.5),)
    assert options_text(Prune(1.0, layers=entries)) == 'density = 1.0, layers = [{ layer = "fc", density = 0.5 }]'
    assert options_text(Quantise(weight_bits=4)) == "weight_bits = 4"


def test_what_stalls_whom_is_in_the_report(project: Path) -> None:
    timeline = report_of(project)["timeline"]
    plan = Pipeline(load_project(project)).plan
    for window in (timeline["first"], timeline["steady"]):
        assert [row["unit"] for row in window["units"]] == [
            "the input",
            *(stage.name for stage in plan.stages),
            "the output",
        ]
        for row in window["units"]:
            totals = [row["busy"], *(wait["cycles"] for wait in row["waits"])]
            found = [0] * len(totals)
            for count, state in re.findall(r"(\d+):(\d+)", row["spans"]):
                found[int(state)] += int(count)
            assert found == totals
            assert sum(totals) == window["cycles"]


def test_units_that_skip_zeros_have_the_timeline_of_test_images(project: Path) -> None:
    text = project.read_text().replace(
        "max_multipliers = 8", 'max_multipliers = 8\nlayers = [{ layer = "classify", skip_zeros = true }]'
    )
    project.write_text(text)
    report = report_of(project)
    assert report["timeline"]["samples"] > 2
    assert report["timeline"]["steady"]["cycles"] <= report["cycles"]["interval"]


def test_every_step(project: Path) -> None:
    pipeline = Pipeline(load_project(project))
    keep(pipeline, VERIFY, verified(pipeline))
    keep(pipeline, BUILD, Built("tiny.bin", 1000, Resources(lut=900, dsp=4), 23.5, 12.0, ("yosys 0.70",)))
    report = report_of(project)
    assert report["verify"] == {"images": 4, "mismatches": 0, "simulator": "compiled"}
    assert report["cycles"]["rtl_latency"] == report["cycles"]["latency"]
    assert report["cycles"]["rtl_interval"] == report["cycles"]["interval"]
    assert report["resources"]["dsp"] == {"used": 4, "available": 8}
    assert (report["fmax_mhz"], report["clock_mhz"], report["board"]) == (23.5, 12.0, "icebreaker")
    assert report["bitstream"] == {"path": "tiny.bin", "bytes": 1000}
    rows = [[str(cell) for cell in column.cells] for column in summary(report).columns]
    shown = dict(zip(*rows, strict=True))
    assert shown["mismatches"] == "0 on 4 images"
    assert shown["Fmax"] == "23.5 MHz"
    assert shown["bitstream"] == "tiny.bin"


def test_the_serial_link_bounds_the_rate(project: Path) -> None:
    pipeline = Pipeline(load_project(project))
    scores = pipeline.plan.stream[pipeline.plan.output_stream]
    payload = 64 + scores.beats * ((scores.beat.width + 7) // 8)
    assert link_rate(pipeline.plan, ICEBREAKER) == ICEBREAKER.baud / (
        10 * (payload + 2 * 16 + 4)
    )  # frames, and the latency
    assert link_rate(pipeline.plan, replace(ICEBREAKER, baud=9600)) < 20


def test_report_of_a_run_that_is_not_finished(project: Path, bitkiln: Run) -> None:
    found = bitkiln("report", project)
    assert found.code == 0
    assert found.err == (f"not up to date: simulate, generate, verify, build; bitkiln run {project} makes them\n")
    assert "latency predicted / RTL " in found.out
    assert " / not verified\n" in found.out.replace(" \n", "\n")
    assert found.out.endswith(f"report    {project.parent / 'build' / REPORT_HTML}\n")


@pytest.mark.parametrize("missing", [FLOAT_GRAPH, GRAPH])
def test_nothing_to_report(missing: str, project: Path, bitkiln: Run) -> None:
    (project.parent / "build" / missing).unlink()
    assert bitkiln("report", project) == Outcome(
        2,
        "",
        f"error[missing-file]: there is nothing to report yet: {project.parent / 'build' / missing} is missing\n"
        f"  help: bitkiln run {project}\n",
    )


def test_report_before_the_first_run(project: Path, bitkiln: Run) -> None:
    shutil.rmtree(project.parent / "build")
    assert bitkiln("report", project).code == 2
    assert not (project.parent / "build").exists()


def test_report_of_artefacts_that_are_damaged(project: Path, bitkiln: Run) -> None:
    (project.parent / "build" / ACCURACY).write_text('{"float_": 1, "golden')
    found = bitkiln("report", project)
    assert found.code == 2
    assert f"error[bad-artefact]: {project.parent / 'build' / ACCURACY} is not as it was written: " in found.err
    assert not (project.parent / "build" / REPORT_HTML).exists()


def test_a_design_that_differs_ends_with_1(project: Path, bitkiln: Run) -> None:
    pipeline = Pipeline(load_project(project))
    wrong = replace(verified(pipeline), mismatches=3, findings="40 output beats: 3 wrong, 0 in the wrong cycle")
    keep(pipeline, VERIFY, wrong)
    found = bitkiln("report", project, "--json")
    assert (found.code, json.loads(found.out)["verify"]["mismatches"]) == (1, 3)
    assert found.err.endswith(
        "the RTL differs from the golden model or the prediction:\n40 output beats: 3 wrong, 0 in the wrong cycle\n"
    )


def test_a_synthesis_report_stands_beside_the_prediction(project: Path, bitkiln: Run, tmp_path: Path) -> None:
    file = tmp_path / "csynth.xml"
    file.write_text(
        "<profile><PerformanceEstimates><SummaryOfOverallLatency><Best-caseLatency>7</Best-caseLatency>"
        "<Worst-caseLatency>9</Worst-caseLatency></SummaryOfOverallLatency></PerformanceEstimates>"
        "<AreaEstimates><Resources><LUT>5</LUT></Resources></AreaEstimates></profile>"
    )
    found = bitkiln("report", project, "--csynth", file, "--json")
    assert found.code == 0
    assert json.loads(found.out)["csynth"]["latency_cycles"] == [7, 9]
    page = project.parent / "build" / REPORT_HTML
    assert "<td>7 to 9</td>" in page.read_text()
    before = page.read_bytes()
    file.write_text("<profile>")
    refused = bitkiln("report", project, "--csynth", file)
    assert (refused.code, refused.out) == (2, "")
    assert "error[bad-csynth]" in refused.err
    assert page.read_bytes() == before
