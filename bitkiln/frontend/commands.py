"""What each verb of the command line does: files in, files out, a result to show."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import torch
from rich.table import Table

from bitkiln.boards import Board, VendorBoard, find_board
from bitkiln.hdl.verification import Level, RtlSimulator, Verification, VerifyOptions
from bitkiln.ir import (
    Plan,
    fail,
    known_names,
    save_graph,
    single_input,
    to_plain,
    write_whole,
)
from bitkiln.sim.csynth import read_csynth
from bitkiln.sim.dataflow import dataflow_cycles
from bitkiln.sim.design import Design
from bitkiln.sim.technologies import find_technology

from .comparing import compare_command
from .datasets import check_shape, read_dataset
from .graph_drawing import draw_graph
from .hls_commands import generate_hls, verify_hls_command
from .import_model import import_counting
from .layer_table import layer_table
from .pipeline import FLOAT_GRAPH, GRAPH, REPORT_HTML, REPORT_JSON, VERIFY, Pipeline
from .planning import board_prediction, plain_folding, planned, shown_folding
from .project import Project, load_project, with_data_path
from .random_checking import verify_random_command
from .simulating import simulate_on_accelerators
from .steps import do_step, is_done, output_folder
from .terminal import Terminal, stopwatch, table

FALLS_SHORT = 1
DEFAULT_TECHNOLOGY = "45nm"


def run_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """All steps of a project, each once."""
    project = load_project(arguments.project)
    if arguments.data:
        project = with_data_path(project, arguments.data)
    if arguments.output:
        project = replace(project, output=arguments.output)
    pipeline = Pipeline(project, terminal.progress)
    names = [step.name for step in pipeline.steps]
    last = arguments.until or names[-1]
    if last not in names:
        raise fail("unknown-step", f"there is no step {last!r}", hint=known_names(last, names))
    torch.manual_seed(0)
    done: dict[str, bool] = {}
    with output_folder(project.output):
        for step in pipeline.steps[: names.index(last) + 1]:
            with stopwatch() as seconds, terminal.step(step.name):
                done[step.name] = do_step(step, project.output, arguments.force)
            terminal.say(f"{step.name:<9} {f'{seconds[0]:.1f} s' if done[step.name] else 'up to date'}")
        if last == names[-1]:
            return _show_report(project, pipeline, terminal)
    terminal.result({"folder": str(project.output), "steps": done})
    return 0


def report_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """The report of a run, made anew from its artefacts; it may lack the later steps. Of several runs, a comparison."""
    if len(arguments.project) > 1:
        return compare_command(arguments, terminal)
    if arguments.output:
        raise fail("bad-arguments", "-o is for the page of several runs", hint="[output] folder names another place")
    (path,) = arguments.project
    project = load_project(path)
    pipeline = Pipeline(project, terminal.progress)
    pipeline.csynth = read_csynth(arguments.csynth) if arguments.csynth else None
    *others, report = pipeline.steps
    for name in (FLOAT_GRAPH, GRAPH):
        if not (project.output / name).is_file():
            message = f"there is nothing to report yet: {project.output / name} is missing"
            raise fail("missing-file", message, hint=f"bitkiln run {path}")
    stale = [step.name for step in others if not is_done(step, project.output)]
    if stale:
        terminal.say(f"not up to date: {', '.join(stale)}; bitkiln run {path} makes them")
    with output_folder(project.output):
        do_step(report, project.output, force=True)
    return _show_report(project, pipeline, terminal)


def _show_report(project: Project, pipeline: Pipeline, terminal: Terminal) -> int:
    report = json.loads((project.output / REPORT_JSON).read_bytes())
    terminal.result(report, summary(report), f"report    {project.output / REPORT_HTML}")
    found = pipeline.read(Verification, VERIFY)
    if found and not found.is_exact:
        terminal.say(f"the RTL differs from the golden model or the prediction:\n{found.findings}")
        return FALLS_SHORT
    return 0


def summary(report: dict[str, Any]) -> Table:
    """The few numbers of a run that matter most, of the steps that have been run."""
    cycles, verify, tested, storage = (report[key] for key in ("cycles", "verify", "accuracy", "storage"))
    rows: list[tuple[str, str]] = []
    if tested["images"]:
        rows.append(("accuracy float / golden", f"{tested['float']:.2%} / {tested['golden']:.2%}"))
    rows.append(("bytes dense / stored", f"{storage['dense_bytes']:,} / {storage['stored_bytes']:,}"))
    for name in ("latency", "interval"):
        of_rtl = cycles[f"rtl_{name}"]
        shown = "not verified" if of_rtl is None else f"{of_rtl:,} cycles"
        rows.append((f"{name} predicted / RTL", f"{cycles[name]:,} / {shown}"))
    if verify["images"]:
        rows.append(("mismatches", f"{verify['mismatches']} on {verify['images']} images"))
    rows += [
        ("images a second", f"{report['images_per_second']:,.0f} at {report['clock_mhz']} MHz"),
        ("energy", f"{report['energy']['total_pj'] / 1e3:,.1f} nJ an image"),
    ]
    if report["bitstream"]["path"]:
        used = (f"{kind} {share['used']:,}/{share['available']:,}" for kind, share in report["resources"].items())
        rows += [
            ("resources", ", ".join(used)),
            ("Fmax", f"{report['fmax_mhz']:.1f} MHz"),
            ("bitstream", report["bitstream"]["path"]),
        ]
    return table("", ("", ""), rows)


def import_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """A model to a graph file."""
    imported = import_counting(arguments.model, arguments.input_size, arguments.weights)
    if arguments.output:
        save_graph(imported.graph, arguments.output)
    if arguments.svg:
        write_whole(arguments.svg, draw_graph(imported.graph).encode())
    layers = layer_table(imported)
    columns = ("name", "op", "type", "params", "macs", "weights", "place")
    rows = [[getattr(row, column) for column in columns] for row in layers.nodes]
    lines = [f"{layers.params:,} parameters, {layers.macs:,} multiply-accumulates"]
    for backend, obstacles in layers.unsupported.items():
        lines += [f"{backend}: {found}" for found in obstacles] or [f"{backend}: takes all of it"]
    terminal.result(layers.to_plain(), table(layers.name, columns, rows), *lines)
    return 0


def simulate_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Cycles and energy of a quantised graph, or of anything that multiplies on a described accelerator."""
    if arguments.accelerator:
        samples = torch.from_numpy(read_dataset(arguments.data).test_x) if arguments.data else None
        return simulate_on_accelerators(arguments, terminal, samples)
    for option in ("against", "html", "data"):
        if getattr(arguments, option):
            raise fail("bad-arguments", f"--{option} is for described accelerators", hint="choose one with -a")
    if str(arguments.graph).endswith(".csv"):
        raise fail("bad-arguments", f"{arguments.graph} is for described accelerators", hint="choose one with -a")
    board = find_board(arguments.board) if arguments.board else None
    plan, why = planned(arguments, board)
    prediction = board_prediction(plan, board)
    design = Design.of(plan, dataflow_cycles(plan), find_technology(arguments.technology or DEFAULT_TECHNOLOGY))
    layers = [
        {
            "name": layer.name,
            "unit": layer.unit,
            "pe": layer.pe,
            "simd": layer.simd,
            "busy_cycles": layer.busy_cycles,
            "utilisation": layer.utilisation,
            "energy_pj": layer.energy.total_pj,
        }
        for layer in design.layers
    ]
    plain = {
        "latency": design.latency_cycles,
        "interval": design.interval_cycles,
        "images_per_second": design.images_per_second,
        "energy_pj": design.energy.total_pj,
        "layers": layers,
    } | plain_folding(why, prediction, board)
    rows = [
        (
            layer.name,
            layer.unit,
            layer.pe or "",
            layer.simd or "",
            layer.busy_cycles,
            f"{layer.utilisation:.0%}",
            f"{layer.energy.total_pj:,.0f}",
        )
        for layer in design.layers
    ]
    shown = table(plan.graph.name, ("stage", "unit", "PE", "SIMD", "busy", "utilisation", "pJ"), rows)
    rate = f"{design.images_per_second:,.0f} images/s at {design.clock_hz / 1e6} MHz"
    cycles = f"latency {design.latency_cycles:,}, interval {design.interval_cycles:,} cycles: {rate}"
    terminal.result(plain, shown, f"{cycles}, {design.energy.total_pj / 1e3:,.1f} nJ an image", *shown_folding(why))
    return 0


def generate_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """The accelerator's Verilog and RTLIL, its HLS project, or a block with AXI ports, in a folder."""
    if arguments.backend == "hls":
        return generate_hls(arguments, terminal, plan_from(arguments))
    if arguments.backend == "ip":
        from .vendor_ip import generate_ip_command  # noqa: PLC0415  # it imports this module

        return generate_ip_command(arguments, terminal)
    if arguments.board or arguments.data:
        raise fail("bad-arguments", "--board and --data are not for `generate rtl`", hint="leave them out")
    from bitkiln.hdl.generate import generate_rtl  # noqa: PLC0415  # the base install has no amaranth

    bundle = generate_rtl(plan_from(arguments))
    folder = bundle.write(arguments.output, force=arguments.force)
    files = {name: len(bundle[name]) for name in bundle.paths}
    lines = [f"{folder / name}  {size:,} bytes" for name, size in files.items()]
    terminal.result({"folder": str(folder), "files": files, "digest": bundle.digest()}, *lines)
    return 0


def verify_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """The RTL against golden model and prediction, or the HLS C++ against the golden model."""
    if arguments.random is not None:
        return 0 if verify_random_command(arguments, terminal) else FALLS_SHORT
    if arguments.graph is None or arguments.data is None:
        raise fail("bad-value", "verify takes a graph file and --data", hint="or --random N, and neither of them")
    if arguments.level == Level.IP.value and not arguments.bitstream:
        from .vendor_ip import verify_ip_command  # noqa: PLC0415

        return verify_ip_command(arguments, terminal)
    if arguments.level != Level.RTL.value or arguments.bitstream:
        from .on_board import verify_below_rtl  # noqa: PLC0415  # it imports this module

        return verify_below_rtl(arguments, terminal)
    if arguments.backend == "hls":
        return verify_hls_command(arguments, terminal, plan_from(arguments))
    from bitkiln.hdl.verify import verify_plan  # noqa: PLC0415

    simulator = RtlSimulator(arguments.simulator)
    options = VerifyOptions(arguments.images, simulator, not arguments.no_back_pressure, arguments.seed)
    plan, data = plan_from(arguments), read_dataset(arguments.data)
    check_shape(data, single_input(plan.graph).type.shape[1:])
    with terminal.step("verify"):
        samples = torch.from_numpy(data.test_x)
        found = verify_plan(plan, samples, options, on_step=lambda step: terminal.progress(step, 0))
    lines = (
        f"{found.images} images on {simulator.value}: {found.mismatches} wrong beats, {found.cycle_mismatches} in "
        f"another cycle than predicted",
        f"latency {found.rtl_latency:,} (predicted {found.predicted_latency:,}), "
        f"interval {found.rtl_interval:,} (predicted {found.predicted_interval:,})",
    )
    terminal.result(to_plain(found), *lines, *([found.findings] if found.findings else []))
    return 0 if found.is_exact else FALLS_SHORT


def plan_from(arguments: argparse.Namespace, board: Board | VendorBoard | None = None) -> Plan:
    """Return the Plan of the graph file and the folding options that were given; the board gives the others."""
    return planned(arguments, board)[0]
