"""Geometry of the report's charts: a row each with its label above, horizontal positions in per cent.

So an SVG fills any width without its text being scaled: the same chart serves a phone and a desk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ._format import shortened

ROW_PIXELS = 38
_TEXT_BASE = 13
_BAR_TOP = 19
_BAR_PIXELS = 11
_LABEL_LENGTH = 30
_LEAST_PERCENT = 0.4  # what is not nothing can be seen
_MARGIN_DECADES = 0.3  # of a logarithmic scale, so that its least size has a bar, too


@dataclass(frozen=True)
class Part:
    """A piece of a bar: its size in the chart's unit, its class of colour and what shows when it is pointed at."""

    size: float
    colour: str
    title: str


@dataclass(frozen=True)
class Row:
    """One bar. `full` is the size of the pale track behind it, 0 for none."""

    label: str
    value: str
    parts: tuple[Part, ...]
    full: float = 0.0


@dataclass(frozen=True)
class Fall:
    """A bar from one positive size to another, on a scale where equal ratios are equally long."""

    label: str
    value: str
    before: float
    after: float
    colour: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A rectangle, ready to be drawn."""

    x: str
    y: int
    width: str
    height: int
    colour: str
    title: str


@dataclass(frozen=True)
class Text:
    """A label at the left (`name`) or the right (`value`) of its row."""

    x: str
    y: int
    text: str
    css: str


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x1: str
    y1: float
    x2: str
    y2: float
    css: str


@dataclass(frozen=True)
class Dot:
    """A circle, and what shows when it is pointed at."""

    x: str
    y: float
    radius: float
    css: str
    title: str


@dataclass(frozen=True)
class Point:
    """A row with one dot on a scale that need not begin at zero."""

    label: str
    value: str
    at: float
    colour: str
    title: str


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    colour: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart to draw. `height` is in pixels, `empty` says why there is nothing."""

    title: str
    note: str
    height: int
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]
    keys: tuple[Key, ...]
    empty: str
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()


def no_chart(title: str, note: str, empty: str) -> Chart:
    """Return a chart that only says why there is nothing."""
    return Chart(title, note, 0, (), (), (), empty)


def bar_chart(title: str, note: str, rows: Sequence[Row], keys: Sequence[Key] = (), empty: str = "") -> Chart:
    """Lay out one bar a row, all on one scale from zero to the largest bar or track."""
    largest = max((max(row.full, sum(part.size for part in row.parts)) for row in rows), default=0.0)
    scale = 100.0 / largest if largest else 0.0
    marks: list[Mark] = []
    texts: list[Text] = []
    for number, row in enumerate(rows):
        top = number * ROW_PIXELS
        texts += _row_texts(number, row.label, row.value)
        marks += _bar(row, top + _BAR_TOP, scale)
    shown_keys = tuple(keys) if rows else ()
    return Chart(title, note, len(rows) * ROW_PIXELS, tuple(marks), tuple(texts), shown_keys, "" if rows else empty)


def fall_chart(title: str, note: str, falls: Sequence[Fall], keys: Sequence[Key] = ()) -> Chart:
    """Lay out one bar a step on a logarithmic scale, whose left end is a little below the least of all sizes.

    What is nothing is at the left end. At least one size is more.
    """
    sizes = [math.log10(size) for fall in falls for size in (fall.before, fall.after) if size > 0]
    least, most = min(sizes) - _MARGIN_DECADES, max(sizes)
    scale = 100.0 / (most - least)
    marks: list[Mark] = []
    texts: list[Text] = []
    for number, fall in enumerate(falls):
        top = number * ROW_PIXELS
        texts += _row_texts(number, fall.label, fall.value)
        ends = sorted((math.log10(size) - least) * scale if size > 0 else 0.0 for size in (fall.before, fall.after))
        if ends[0]:
            marks.append(Mark("0%", top + _BAR_TOP, _percent(ends[0]), _BAR_PIXELS, "track", fall.title))
        width = _percent(max(_LEAST_PERCENT, ends[1] - ends[0]))
        marks.append(Mark(_percent(ends[0]), top + _BAR_TOP, width, _BAR_PIXELS, fall.colour, fall.title))
    return Chart(title, note, len(falls) * ROW_PIXELS, tuple(marks), tuple(texts), tuple(keys), "")


def dot_chart(
    title: str, note: str, points: Sequence[Point], low: float, high: float, rule: float | None = None
) -> Chart:
    """Lay out one dot a row on a scale from `low` to `high`, joined by a line from row to row.

    With a `rule` the dots are not joined: there is an upright line at that value, and one from there to each dot.
    """
    scale = 100.0 / (high - low)
    places = [(point.at - low) * scale for point in points]
    middles = [number * ROW_PIXELS + _BAR_TOP + _BAR_PIXELS / 2 for number in range(len(points))]
    height = len(points) * ROW_PIXELS
    texts: list[Text] = []
    lines = [Line("0%", y, "100%", y, "grid") for y in middles]
    if rule is None:
        pairs = zip(pairwise(places), pairwise(middles), strict=True)
        lines += [Line(_percent(x1), y1, _percent(x2), y2, "trend") for (x1, x2), (y1, y2) in pairs]
    else:
        zero = _percent((rule - low) * scale)
        lines.append(Line(zero, _BAR_TOP - 3, zero, height, "rule"))
        lines += [Line(zero, y, _percent(x), y, "trend") for x, y in zip(places, middles, strict=True)]
    for number, point in enumerate(points):
        texts += _row_texts(number, point.label, point.value)
    dots = [
        Dot(_percent(x), y, 5.0, f"dot {point.colour}", point.title)
        for x, y, point in zip(places, middles, points, strict=True)
    ]
    return Chart(title, note, height, (), tuple(texts), (), "", tuple(lines), tuple(dots))


def _row_texts(number: int, label: str, value: str) -> tuple[Text, Text]:
    y = number * ROW_PIXELS + _TEXT_BASE
    return Text("0", y, shortened(label, _LABEL_LENGTH), "name"), Text("100%", y, value, "value")


def _bar(row: Row, y: int, scale: float) -> list[Mark]:
    marks = []
    if row.full:
        title = f"{row.label}: {row.value}"
        marks.append(Mark("0%", y, _percent(row.full * scale), _BAR_PIXELS, "track", title))
    x = 0.0
    for part in row.parts:
        if part.size <= 0:
            continue
        width = max(_LEAST_PERCENT, part.size * scale)
        marks.append(Mark(_percent(x), y, _percent(width), _BAR_PIXELS, part.colour, part.title))
        x += part.size * scale
    return marks


def _percent(value: float) -> str:
    return f"{value:.3f}%"
