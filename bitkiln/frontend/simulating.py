"""`bitkiln simulate MODEL -a ACCELERATOR`: a graph, a model or a topology file on one of the described accelerators."""

from __future__ import annotations

import argparse
import csv
import io
import shlex
from dataclasses import replace
from pathlib import Path

from rich.table import Table
from torch import Tensor

from bitkiln.ir import Graph, fail, load_graph, write_whole
from bitkiln.sim.accelerator import Accelerator, Dataflow, find_accelerator
from bitkiln.sim.counts import Level
from bitkiln.sim.graph_workload import workload_of
from bitkiln.sim.observed import with_activations
from bitkiln.sim.simulate import Simulation, simulate
from bitkiln.sim.simulation_page import render_simulations
from bitkiln.sim.streaming import simulate_graph
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.tiling import Objective
from bitkiln.sim.topology import read_topology
from bitkiln.sim.waterfall import dram_over_add

from .import_model import import_reference
from .terminal import Terminal, table
from .torchvision_shim import torchvision_input

_TORCHVISION = "torchvision:"

COLUMNS = (
    "layer",
    "MACs",
    "compute cycles",
    "cycles",
    "waits for",
    "utilisation",
    "energy",
    "DRAM bytes",
    "SRAM bytes",
)

STEPS = ("weights", "energy", "times less", "what")

TOTALS = ("model", "accelerator", "time", "energy", "DRAM bytes", "SRAM bytes", "utilisation")


def simulate_on_accelerators(arguments: argparse.Namespace, terminal: Terminal, samples: Tensor | None) -> int:
    """Cycles, traffic and energy of every layer as a table, CSV, JSON or a page; of several, side by side.

    With `samples`, the layers of graphs see what these make of them.
    """
    _check(arguments)
    models = [str(arguments.graph), *arguments.against]
    accelerators = _accelerators(arguments)
    with terminal.step("simulate"):
        simulations = [_simulation(arguments, model, chip, samples) for model in models for chip in accelerators]
    if len(models) > 1:
        simulations = _named(simulations, models, len(accelerators))
    lines: list[str] = []
    if arguments.html:
        write_whole(arguments.html, render_simulations(simulations, [_command(arguments)]).encode())
        lines.append(f"page      {arguments.html}")
    if arguments.csv:
        terminal.result(None, to_csv(simulations[0]).rstrip("\n"))
        return 0
    shown: list[Table | str] = []
    for simulation in simulations:
        title = f"{simulation.workload.name} on {simulation.accelerator.title}"
        shown += [table(title, COLUMNS, _rows(simulation)), *summary(simulation)]
        if simulation.waterfall:
            shown += ["", table("what compression saves, one batch", STEPS, _steps(simulation))]
            ratio = f"{dram_over_add(simulation.technology):,.0f}"
            shown.append(f"32 bits from DRAM cost {ratio} additions of 32 bits")
        shown.append("")
    if len(simulations) > 1:
        shown += [table("side by side", TOTALS, [_totals(simulation) for simulation in simulations])]
    plain = [simulation.to_plain() for simulation in simulations]
    terminal.result(plain[0] if len(plain) == 1 else {"simulations": plain}, *shown, *lines)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.json and arguments.csv:
        raise fail("bad-arguments", "the result is either JSON or CSV: leave --json or --csv out")
    if arguments.csv and (len(arguments.accelerator) > 1 or arguments.against):
        raise fail("bad-arguments", "CSV has one model on one accelerator", hint="use --json for several")
    if arguments.batch < 1:
        raise fail("bad-value", f"--batch must be at least 1, not {arguments.batch}")


def _accelerators(arguments: argparse.Namespace) -> list[Accelerator]:
    """The accelerators in the order given; a choice of dataflow is for those that have one."""
    chips = [find_accelerator(name) for name in arguments.accelerator]
    if not arguments.dataflow:
        return chips
    dataflow = Dataflow(arguments.dataflow)
    if all(chip.systolic is None for chip in chips):
        return [chips[0].with_dataflow(dataflow)]
    return [chip.with_dataflow(dataflow) if chip.systolic else chip for chip in chips]


def _simulation(
    arguments: argparse.Namespace, model: str, accelerator: Accelerator, samples: Tensor | None
) -> Simulation:
    technology = find_technology(arguments.technology or accelerator.technology)
    objective, can_stay = Objective(arguments.objective), not arguments.nothing_stays
    if Path(model).suffix.lower() == ".csv":
        if samples is not None:
            raise fail("bad-arguments", f"--data is for graphs; {model} has no values to compute with")
        workload = read_topology(Path(model), arguments.batch)
        return simulate(workload, accelerator, technology, objective, can_stay)
    graph = read_graph(model, arguments.input_size, arguments.weights)
    if samples is None or accelerator.streaming is not None:
        return simulate_graph(graph, accelerator, technology, arguments.batch, objective, can_stay)
    workload = with_activations(workload_of(graph, arguments.batch), graph, samples)
    return simulate(workload, accelerator, technology, objective, can_stay)


def _named(simulations: list[Simulation], models: list[str], chips: int) -> list[Simulation]:
    """Name the networks by their files, since one before and after compression keeps its name in the graph."""
    stems = [Path(model).stem for model in models]
    names = stems if len(set(stems)) == len(stems) else models
    return [
        replace(simulation, workload=replace(simulation.workload, name=names[number // chips]))
        for number, simulation in enumerate(simulations)
    ]


def _command(arguments: argparse.Namespace) -> str:
    """The command line that makes the page again."""
    words = ["bitkiln", "simulate", str(arguments.graph)]
    for option, values in (("--against", arguments.against), ("-a", arguments.accelerator)):
        words += [word for value in values for word in (option, value)]
    size = ",".join(str(number) for number in arguments.input_size or ())
    given = (
        ("-t", arguments.technology),
        ("--dataflow", arguments.dataflow),
        ("--batch", arguments.batch if arguments.batch > 1 else None),
        ("--objective", arguments.objective if arguments.objective != Objective.TRAFFIC.value else None),
        ("--input-size", size),
        ("--weights", arguments.weights),
        ("--data", arguments.data),
        ("--html", arguments.html),
    )
    words += [str(word) for option, value in given if value for word in (option, value)]
    return shlex.join([*words, *(["--nothing-stays"] if arguments.nothing_stays else [])])


def read_graph(reference: str, input_shape: tuple[int, ...] | None, weights: Path | None) -> Graph:
    """Return the graph in a file, or the one imported from a model's name. Raises what either raises.

    A network of torchvision takes images of the size that its weights were trained for, unless a shape is given.
    """
    path = Path(reference)
    if reference.startswith(_TORCHVISION) and input_shape is None:
        input_shape = torchvision_input(reference.removeprefix(_TORCHVISION).partition("(")[0])
    if path.is_file() and path.suffix in (".pt2", ".onnx"):
        return import_reference(reference, input_shape, weights)
    if path.is_file() or (":" not in reference and path.suffix != ".pt2"):
        return load_graph(path)
    return import_reference(reference, input_shape, weights)


def _totals(simulation: Simulation) -> tuple[object, ...]:
    return (
        simulation.workload.name,
        simulation.accelerator.name,
        f"{simulation.seconds * 1e3:,.3f} ms",
        _energy(simulation, simulation.energy.total_pj),
        round(simulation.counts.bits(Level.DRAM) / 8),
        round(simulation.counts.bits(Level.SRAM) / 8),
        f"{simulation.utilisation:.1%}",
    )


def _rows(simulation: Simulation) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for run, energy in zip(simulation.runs, simulation.energies, strict=True):
        worst = max(run.stalls, key=lambda stall: stall.cycles, default=None)
        rows.append(
            (
                run.layer.name,
                run.layer.macs,
                run.compute_cycles,
                run.cycles,
                f"{worst.cause.value} {worst.cycles / run.cycles:.0%}" if worst else "",
                f"{run.utilisation:.1%}",
                _energy(simulation, energy.total_pj),
                round(run.bytes(Level.DRAM)),
                round(run.bytes(Level.SRAM)),
            )
        )
    return rows


def _steps(simulation: Simulation) -> list[tuple[object, ...]]:
    return [
        (step.name, _energy(simulation, step.energy), _times(step.factor), step.detail) for step in simulation.waterfall
    ]


def _times(factor: float) -> str:
    if factor == 1:
        return ""
    return f"{factor:.2f}" if factor > 1 else f"{1 / factor:.2f} times more"


def _energy(simulation: Simulation, value: float) -> str:
    return f"{value / 1e6:,.3f} µJ" if simulation.technology.unit.value == "pJ" else f"{value:,.0f} MAC"


def summary(simulation: Simulation) -> list[str]:
    """Return the totals and the answers to the first questions, as lines."""
    counts, weights = simulation.counts, simulation.weights
    clock = f"{simulation.seconds * 1e3:,.3f} ms at {simulation.accelerator.clock_hz / 1e6:g} MHz"
    total = (
        f"{simulation.cycles:,} cycles ({simulation.compute_cycles:,} of computing), {clock}, "
        f"utilisation {simulation.utilisation:.1%}",
        f"{_energy(simulation, simulation.energy.total_pj)} by {simulation.technology.title}; "
        f"{counts.bits(Level.DRAM) / 8e6:,.3f} MB to and from DRAM, {counts.bits(Level.SRAM) / 8e6:,.3f} MB SRAM",
        f"the weights ({weights.bits / 8:,.0f} bytes) {'fit' if weights.fits else 'do not fit'} on the chip, which has "
        f"{weights.sram_bits / 8:,.0f} bytes for them",
    )
    unsourced = f"{_energy(simulation, simulation.unsourced_energy)} of the energy is by prices without a source"
    other = ", ".join(f"{count} {name}" for name, count in simulation.workload.other)
    more = (
        (simulation.unsourced_energy, f"{unsourced}: see --json or --html"),
        (other, f"not simulated: {other}"),
    )
    return [*total, *(line for is_there, line in more if is_there)]


def to_csv(simulation: Simulation) -> str:
    """Return a line a layer and one for the total, with the keys of the JSON."""
    plain = simulation.to_plain()
    keys = ("compute_cycles", "cycles", "macs", "performed_macs", "utilisation", "energy", "dram_bytes", "sram_bytes")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("layer", *keys, "mapping"))
    layers, total = plain["layers"], plain["total"]
    assert isinstance(layers, list) and isinstance(total, dict)
    for layer in layers:
        writer.writerow((layer["name"], *(layer[key] for key in keys), layer["mapping"]))
    writer.writerow(("total", *(total[key] for key in keys), ""))
    return text.getvalue()
