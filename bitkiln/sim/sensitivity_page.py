"""The table of a sensitivity scan as one HTML page: a curve a layer, accuracy over density and over bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from bitkiln.passes.sensitivity import LayerSensitivity, Point, Sensitivity

from ._charts import Chart, Dot, Line, Text
from ._format import count_text, percent_text
from ._tables import Cell, number_cell, text_cell
from .report_page import page_template

HEIGHT = 150
_TOP, _BOTTOM, _TICK = 12, 118, 136
_LEFT, _RIGHT = 9.0, 97.0
_LEAST_SHARE = 0.05
"""Of the vertical axis, so that flat curves are not blown up."""


def render_sensitivity(name: str, table: Sensitivity, chosen: Mapping[str, float], note: str, recipe: str) -> str:
    """Return the page. `chosen` are densities a layer, marked in the curves, `note` says how they came about and what
    they give, `recipe` is their table for a project file; all may be empty."""
    return page_template("sensitivity.html.j2").render(
        kind="sensitivity",
        name=name,
        subtitle=(
            f"{percent_text(table.correct / table.images)} of {count_text(table.images)} samples are right; each layer "
            "is changed alone, and nothing is trained"
        ),
        charts=[curve for layer in table.layers for curve in _curves(table, layer, chosen.get(layer.name))],
        columns=_columns(table),
        rows=[_row(table, layer) for layer in table.layers],
        note=note,
        recipe=recipe,
    )


def _columns(table: Sensitivity) -> list[str]:
    first = table.layers[0] if table.layers else LayerSensitivity("", 0, 0, (), ())
    densities = [f"{100 * point.value:g} %" for point in first.densities]
    return ["layer", "weights", "MACs", *densities, *(f"{point.value:g} bit" for point in first.bits)]


def _row(table: Sensitivity, layer: LayerSensitivity) -> list[Cell]:
    shares = [point.correct / table.images for point in (*layer.densities, *layer.bits)]
    counts = [number_cell(count, count_text(count)) for count in (layer.weights, layer.macs)]
    return [text_cell(layer.name), *counts, *(number_cell(share, percent_text(share)) for share in shares)]


def _curves(table: Sensitivity, layer: LayerSensitivity, chosen: float | None) -> list[Chart]:
    curves = []
    if layer.densities:
        note = f"{count_text(layer.weights)} weights, pruned alone"
        note += f"; chosen: {100 * chosen:g} %" if chosen is not None else ""
        curves.append(_curve(table, layer.name, note, layer.densities, chosen, " %", 100))
    if layer.bits:
        note = f"{count_text(layer.weights)} weights, rounded alone"
        curves.append(_curve(table, f"{layer.name}, bits", note, layer.bits, None, "", 1))
    return curves


def _curve(
    table: Sensitivity, title: str, note: str, points: Sequence[Point], chosen: float | None, unit: str, scale: int
) -> Chart:
    ordered = sorted(points, key=lambda point: point.value)
    whole = table.correct / table.images
    shares = [point.correct / table.images for point in ordered]
    least, most = min(*shares, whole), max(*shares, whole)
    least = max(0.0, min(least, most - _LEAST_SHARE))
    low, high = math.log(ordered[0].value), math.log(max(ordered[-1].value, ordered[0].value * 1.01))
    places = [_LEFT + (_RIGHT - _LEFT) * (math.log(point.value) - low) / (high - low) for point in ordered]
    heights = [_BOTTOM - (_BOTTOM - _TOP) * (share - least) / (most - least) for share in shares]
    level = _BOTTOM - (_BOTTOM - _TOP) * (whole - least) / (most - least)
    lines = [Line(_percent(_LEFT), level, _percent(_RIGHT), level, "grid")]
    ends = list(zip(places, heights, strict=True))
    lines += [Line(_percent(x1), y1, _percent(x2), y2, "roof") for (x1, y1), (x2, y2) in itertools.pairwise(ends)]
    dots = [
        Dot(_percent(x), y, 5.0 if point.value == chosen else 3.0, "dot busy", _title(point, share, unit, scale))
        for (x, y), point, share in zip(ends, ordered, shares, strict=True)
    ]
    ends_of_axis = ((_TOP + 4, most), (_BOTTOM, least))
    texts = [Text("0", y, percent_text(share), "tick start") for y, share in ends_of_axis]
    texts += [
        Text(_percent(place), _TICK, f"{scale * point.value:g}{unit}", "tick")
        for place, point in zip(places, ordered, strict=True)
    ]
    return Chart(title, note, HEIGHT, (), tuple(texts), (), "", tuple(lines), tuple(dots))


def _title(point: Point, share: float, unit: str, scale: int) -> str:
    at = f"{scale * point.value:g}{unit}" if unit else f"{point.value:g} bit"
    return f"{at}: {100 * share:.2f} %"


def _percent(value: float) -> str:
    return f"{value:.3f}%"
