"""From the folding options of a command to a Plan, and why it is folded as it is: tables and JSON."""

from __future__ import annotations

import argparse

from rich.table import Table

from bitkiln.boards import Board, Resource, VendorBoard
from bitkiln.boards.cost import Prediction, has_model, predict
from bitkiln.ir import Plan, fail, from_plain, known_names, load_graph, to_plain
from bitkiln.ir.units import Storage
from bitkiln.passes import BoardFolding
from bitkiln.passes.schedule import PlanOptions
from bitkiln.sim.planning import plan_graph

from .board_plan import board_plan
from .terminal import table

_COLUMNS = ("layer", "unit", "PE", "SIMD", "multipliers", "weights", "cycles", "LUT", "BRAM", "DSP")


def planned(
    arguments: argparse.Namespace, board: Board | VendorBoard | None = None
) -> tuple[Plan, BoardFolding | None]:
    """Return the Plan of the graph file and the options that were given, and for a board why it is this one.

    The board gives the options that were not given.
    """
    given = {
        "max_multipliers": arguments.max_multipliers,
        "target_interval": arguments.target_interval,
        "frames_per_second": arguments.frames_per_second,
        "dsp": 0 if getattr(arguments, "no_dsp", False) else arguments.dsp,
        "clock_mhz": arguments.clock_mhz,
        "goal": arguments.goal,
        "renewable": arguments.renewable or getattr(arguments, "patch", None) is not None or None,
        "weight_banks": arguments.weight_banks,
        "layers": [{"layer": layer, "storage": kind} for layer, kind in map(_stored, arguments.storage)] or None,
    }
    said = {name: value for name, value in given.items() if value is not None}
    options = from_plain(PlanOptions, {**(board_plan(board) if board else {}), **said}, "the folding options")
    return plan_graph(load_graph(arguments.graph), options)


def _stored(wish: str) -> tuple[str, str]:
    """Return layer and kind of `--storage LAYER=KIND`, or of `KIND`, which is for all layers."""
    layer, _, kind = wish.rpartition("=")
    kinds = [storage.value for storage in Storage]
    if kind not in kinds:
        raise fail("bad-value", f"--storage: weights cannot be stored as {kind!r}", hint=known_names(kind, kinds))
    return layer or "*", kind


def board_prediction(plan: Plan, board: Board | None) -> Prediction | None:
    """Return what the plan will take on the board, None if its family has no model."""
    return predict(plan, board) if board is not None and has_model(board.family) else None


def plain_folding(why: BoardFolding | None, prediction: Prediction | None, board: Board | None) -> dict[str, object]:
    """Return what belongs in a command's JSON: why the folding is this one, and what it will take."""
    plain: dict[str, object] = {"folding": to_plain(why) if why else None}
    if prediction is None or board is None:
        return plain
    used = {kind.value: {"predicted": prediction.used[kind], "available": n} for kind, n in board.resources}
    return plain | {"resources_predicted": used, "fmax_mhz_predicted": prediction.fmax_mhz}


def shown_folding(why: BoardFolding | None) -> list[Table | str]:
    """Return the table of the layers, the bottleneck, what the board has, and what one step more would cost."""
    if why is None:
        return []
    rows = [
        (
            layer.name,
            layer.unit,
            layer.pe,
            layer.simd,
            layer.multiplier.value if layer.multiplier else "",
            layer.storage.value if layer.storage else "",
            layer.interval,
            *(layer.used[kind] for kind in (Resource.LUT, Resource.BRAM, Resource.DSP)),
        )
        for layer in why.layers
    ]
    used = ", ".join(f"{why.used[kind]:,}/{limit:,} {kind.value.upper()}" for kind, limit in why.limits if limit)
    lines = [
        f"{why.goal.value} on {why.board}: {why.interval:,} cycles an image, which {_names(why.bottleneck)} takes",
        f"predicted: {used} (LUT and FF less a margin of {why.margin:.0%}, the model's error)",
    ]
    if why.next_step is None:
        lines.append("no layer can be folded any faster")
    else:
        step = why.next_step
        short = [f"{step.needed[kind]:,} {kind.value.upper()} of {why.limits[kind]:,}" for kind in step.binding]
        need = " and ".join(short) if short else "no more than there is, but its width converters are too slow"
        lines.append(f"the next lower interval, {step.interval:,} cycles, would need {need}")
    return [table(f"folding for {why.board}", _COLUMNS, rows), *lines]


def _names(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"each of {', '.join(names)}"
