"""`bitkiln simulate MODEL -a ACCELERATOR`: a graph, a model or a topology file on one of the described accelerators."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from bitkiln.ir import Graph, fail, load_graph
from bitkiln.sim.accelerator import Accelerator, Dataflow, find_accelerator
from bitkiln.sim.counts import Level
from bitkiln.sim.simulate import Simulation, simulate
from bitkiln.sim.streaming import simulate_graph
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.technology import Technology
from bitkiln.sim.tiling import Objective
from bitkiln.sim.topology import read_topology

from .import_model import import_reference
from .terminal import Terminal, table

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


def simulate_on_accelerator(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Cycles, traffic and energy of every layer, as a table, CSV or JSON."""
    if arguments.json and arguments.csv:
        raise fail("bad-arguments", "the result is either JSON or CSV: leave --json or --csv out")
    if arguments.batch < 1:
        raise fail("bad-value", f"--batch must be at least 1, not {arguments.batch}")
    accelerator = find_accelerator(arguments.accelerator)
    if arguments.dataflow:
        accelerator = accelerator.with_dataflow(Dataflow(arguments.dataflow))
    technology = find_technology(arguments.technology or accelerator.technology)
    with terminal.step("simulate"):
        simulation = _simulation(arguments, accelerator, technology)
    if arguments.csv:
        terminal.result(None, to_csv(simulation).rstrip("\n"))
    else:
        shown = table(f"{simulation.workload.name} on {accelerator.title}", COLUMNS, _rows(simulation))
        terminal.result(simulation.to_plain(), shown, *summary(simulation))
    return 0


def _simulation(arguments: argparse.Namespace, accelerator: Accelerator, technology: Technology) -> Simulation:
    objective, can_stay = Objective(arguments.objective), not arguments.nothing_stays
    if arguments.graph.suffix.lower() == ".csv":
        workload = read_topology(arguments.graph, arguments.batch)
        return simulate(workload, accelerator, technology, objective, can_stay)
    graph = read_graph(str(arguments.graph), arguments.input_size, arguments.weights)
    return simulate_graph(graph, accelerator, technology, arguments.batch, objective, can_stay)


def read_graph(reference: str, input_shape: tuple[int, ...] | None, weights: Path | None) -> Graph:
    """Return the graph in a file, or the one imported from a model's name. Raises what either raises."""
    path = Path(reference)
    if path.is_file() and path.suffix in (".pt2", ".onnx"):
        return import_reference(reference, input_shape, weights)
    if path.is_file() or (":" not in reference and path.suffix != ".pt2"):
        return load_graph(path)
    return import_reference(reference, input_shape, weights)


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
    other = ", ".join(f"{count} {name}" for name, count in simulation.workload.other)
    return [*total, *([f"not simulated: {other}"] if other else [])]


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
