"""`bitkiln compress GRAPH`: passes on a graph, what they save, and the coupled groups of its channels."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.table import Table

from bitkiln.ir import KILN_SUFFIX, Graph, fail, load_graph, print_graph, save_graph, single_input
from bitkiln.ir.coding import STORAGE_RULE
from bitkiln.passes import Context, Pass, groups, read_passes, run_passes
from bitkiln.sim.footprint import COLUMNS, WORK_RULE, Footprint, side_by_side
from bitkiln.sim.report import RecipeStep

from .datasets import DataSpec, calibration_inputs, check_shape, read_dataset
from .recipe import Recipe
from .terminal import Terminal, table


def compress_command(arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Passes on a graph."""
    graph, passes = load_graph(arguments.graph), read_pass_texts(arguments.passes)
    if arguments.groups:
        return _show_groups(graph, terminal)
    if arguments.data is None:
        return _store(graph, passes, arguments.output, terminal)
    data = read_dataset(arguments.data)
    check_shape(data, single_input(graph).type.shape[1:])
    train_x, train_y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    test_x, test_y = torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)
    calibration = torch.from_numpy(calibration_inputs(data, DataSpec.calibration_samples))
    with terminal.step("compress"):
        recipe = Recipe(graph, test_x, test_y, terminal.progress)
        context = Context(calibration, train_x, train_y, 0, graph, terminal.progress)
        small = run_passes(graph, passes, context, recipe.add)
        before, after = (Footprint.of(g, test_x) for g in (graph, small))
    if arguments.output:
        save_graph(small, arguments.output)
    tested, bits = ([getattr(recipe.steps[i], name) for i in (0, -1)] for name in ("accuracy", "constant_bits"))
    plain: dict[str, object] = {
        "accuracy": {"before": tested[0], "after": tested[1]},
        "recipe": [asdict(step) for step in recipe.steps],
        "constant_bits": {"before": bits[0], "after": bits[1]},
        "before": before.to_plain(),
        "after": after.to_plain(),
        "rules": [STORAGE_RULE, WORK_RULE],
        "graph": print_graph(small).splitlines(),
    }
    lines = [f"accuracy {tested[0]:.2%} -> {tested[1]:.2%}, constants {bits[0]:,} -> {bits[1]:,} bits"]
    if arguments.output and arguments.output.suffix == KILN_SUFFIX:
        plain["stored_bytes"] = after.stored_bytes
        lines += [f"{after.stored_bytes:,} bytes stored"]
    terminal.result(plain, *lines, *_shown(recipe.steps, before, after), WORK_RULE, STORAGE_RULE)
    return 0


def _shown(steps: Sequence[RecipeStep], before: Footprint, after: Footprint) -> list[Table | str]:
    """The tables of the recipe if it is longer than a pass, of totals, and of the tensors after compression."""
    totals = table("", ("", "before", "after", "less"), side_by_side(before, after))
    tensors = table(
        "bytes of each tensor, without entropy coding and stored", COLUMNS, [t.cells for t in after.tensors]
    )
    columns = ("after", "accuracy", "parameters", "bits of constants", "options")
    rows = [(step.name, f"{step.accuracy:.2%}", step.params, step.constant_bits, step.options) for step in steps]
    recipe: list[Table | str] = [table("", columns, rows), ""] if len(steps) > 2 else []
    return [*recipe, totals, "", tensors, f"{after.other_bytes:,} bytes more: the graph's text, header and check sum"]


def _show_groups(graph: Graph, terminal: Terminal) -> int:
    """What goes together if channels are cut."""
    found = groups(graph)
    plain = [
        {"name": group.name, "channels": group.size}
        | {"members": [asdict(member) | {"role": member.role.value} for member in group.members]}
        for group in found
    ]
    channels = sum(group.size for group in found)
    terminal.result({"groups": plain}, *(str(group) for group in found), f"{len(found)} groups, {channels:,} channels")
    return 0


def _store(graph: Graph, passes: tuple[Pass, ...], output: Path | None, terminal: Terminal) -> int:
    """The graph as it is in another file: what `compress` does without samples."""
    if passes or output is None:
        raise fail("missing-data", "passes need samples", hint="--data digits, idx:FOLDER or npz:FILE; or only -o FILE")
    save_graph(graph, output)
    plain = {"stored_bytes": output.stat().st_size, "parameters": graph.params}
    lines = [f"{plain['stored_bytes']:,} bytes stored, {graph.params:,} constants"]
    terminal.result(plain, *lines, *([STORAGE_RULE] if output.suffix == KILN_SUFFIX else []))
    return 0


def read_pass_texts(texts: list[str]) -> tuple[Pass, ...]:
    """Read passes like `quantise{weight_bits=4, per_channel=false}`; the options are TOML."""
    return read_passes([_pass_table(text) for text in texts], "--pass")


def _pass_table(text: str) -> dict[str, object]:
    name, brace, options = text.partition("{")
    hint = "write it like quantise{weight_bits=4, per_channel=false}"
    try:
        found = tomllib.loads(f"options = {{{options}") if brace else {"options": {}}
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise fail("bad-value", f"--pass {text!r} cannot be read: {error}", hint=hint) from None
    if "name" in found["options"] or len(found) > 1:
        raise fail("bad-value", f"--pass {text!r} is more than a name with options", hint=hint)
    return {"name": name.strip(), **found["options"]}
