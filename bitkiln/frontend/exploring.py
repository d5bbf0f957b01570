"""`bitkiln explore GRAPH`: how sensitive each layer is to pruning and rounding, and densities for a budget."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bitkiln.ir import fail, load_graph, single_input, write_whole
from bitkiln.passes import Context, accuracy, run_passes
from bitkiln.passes.sensitivity import DENSITIES, Sensitivity, choose_densities, prune_entries, scan
from bitkiln.sim.sensitivity_page import render_sensitivity

from .datasets import check_shape, read_dataset
from .terminal import Terminal, table


def explore_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Scan on the last of the training samples, which no test result depends on."""
    graph, data = load_graph(arguments.graph), read_dataset(arguments.data)
    check_shape(data, single_input(graph).type.shape[1:])
    if arguments.samples < 1:
        raise fail("bad-value", f"--samples must be at least 1, not {arguments.samples}")
    x, y = (torch.from_numpy(part[-arguments.samples :]) for part in (data.train_x, data.train_y))
    densities = arguments.densities or (() if arguments.bits else DENSITIES)
    if arguments.budget is not None and not densities:
        raise fail("bad-arguments", "--budget chooses among densities", hint="--densities 0.05,0.1,0.3 beside --bits")
    with terminal.step("explore"):
        found = scan(graph, x, y, densities, arguments.bits, terminal.progress)
    lines, plain = [f"{found.correct:,} of {found.images:,} samples are right as it is"], {"scan": found.to_plain()}
    chosen: dict[str, float] = {}
    note = recipe = ""
    if arguments.budget is not None:
        chosen = choose_densities(found, arguments.budget)
        step, recipe = prune_entries(chosen)
        small = run_passes(graph, (step,), Context(x, x, y, 0, graph))
        share = accuracy(small, x, y)
        kept = sum(layer.weights * chosen[layer.name] for layer in found.layers)
        total = sum(layer.weights for layer in found.layers)
        note = (
            f"The fewest weights whose losses add up to at most {100 * arguments.budget:g} points: "
            f"{100 * kept / total:.1f} % of {total:,}. All layers together, without training: {100 * share:.2f} %."
        )
        lines += [note, recipe]
        plain["choice"] = {"budget": arguments.budget, "densities": chosen, "density": kept / total, "accuracy": share}
        plain["choice"]["toml"] = recipe
    if arguments.html:
        page = render_sensitivity(graph.name, found, chosen, note, recipe)
        write_whole(Path(arguments.html), page.encode())
        lines.append(f"page      {arguments.html}")
    terminal.result(plain, table(graph.name, _columns(found), _rows(found)), *lines)
    return 0


def _columns(found: Sensitivity) -> list[str]:
    first = found.layers[0] if found.layers else None
    densities = [f"{100 * point.value:g} %" for point in first.densities] if first else []
    return ["layer", "weights", *densities, *(f"{point.value:g} bit" for point in (first.bits if first else ()))]


def _rows(found: Sensitivity) -> list[list[str]]:
    return [
        [layer.name, f"{layer.weights:,}"]
        + [f"{100 * point.correct / found.images:.2f}" for point in (*layer.densities, *layer.bits)]
        for layer in found.layers
    ]
