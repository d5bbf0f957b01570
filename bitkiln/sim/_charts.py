"""Geometry of the report's charts: horizontal bars, their labels above them, horizontal positions in per cent.

So an SVG fills any width without its text being scaled: the same chart serves a phone and a desk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


def bar_chart(title: str, note: str, rows: Sequence[Row], keys: Sequence[Key] = (), empty: str = "") -> Chart:
    """Lay out one bar a row, all on one scale from zero to the largest bar or track."""
    largest = max((max(row.full, sum(part.size for part in row.parts)) for row in rows), default=0.0)
    scale = 100.0 / largest if largest else 0.0
    marks: list[Mark] = []
    texts: list[Text] = []
    for number, row in enumerate(rows):
        top = number * ROW_PIXELS
        texts.append(Text("0", top + _TEXT_BASE, shortened(row.label, _LABEL_LENGTH), "name"))
        texts.append(Text("100%", top + _TEXT_BASE, row.value, "value"))
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
        texts.append(Text("0", top + _TEXT_BASE, shortened(fall.label, _LABEL_LENGTH), "name"))
        texts.append(Text("100%", top + _TEXT_BASE, fall.value, "value"))
        ends = sorted((math.log10(size) - least) * scale if size > 0 else 0.0 for size in (fall.before, fall.after))
        if ends[0]:
            marks.append(Mark("0%", top + _BAR_TOP, _percent(ends[0]), _BAR_PIXELS, "track", fall.title))
        width = _percent(max(_LEAST_PERCENT, ends[1] - ends[0]))
        marks.append(Mark(_percent(ends[0]), top + _BAR_TOP, width, _BAR_PIXELS, fall.colour, fall.title))
    return Chart(title, note, len(falls) * ROW_PIXELS, tuple(marks), tuple(texts), tuple(keys), "")


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
