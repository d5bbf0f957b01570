"""Geometry of a roofline: what each layer reaches, against what the chip's multipliers and its DRAM allow.

Horizontal positions are per cent and vertical ones pixels, as in the other charts, so that no text is scaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ._charts import Chart, Dot, Key, Line, Text
from ._format import number_text, percent_text, short_count, time_text
from .counts import Level
from .simulate import Simulation

HEIGHT = 300
_TOP, _BOTTOM = 14, 262
_AXIS_TITLE = 296
_TICK_TEXT = 278
_LEAST_RADIUS, _MOST_RADIUS = 3.0, 11.0
_NAMED = 3
"""Layers that take most of the time and have their name beside them."""
_APART_PERCENT, _APART_PIXELS = 22, 14


@dataclass(frozen=True)
class RooflinePoint:
    """Performed products for each byte that is moved, and in a second; `share` (0 to 1) is the area of its dot.

    `title` is what shows when it is pointed at, behind the name and both numbers.
    """

    name: str
    intensity: float
    rate: float
    share: float
    title: str


@dataclass(frozen=True)
class Roof:
    """Products a second of all multipliers, and bytes a second of what limits them; `axis` names the bytes."""

    peak: float
    bandwidth: float
    axis: str
    no_bytes: str
    keys: tuple[Key, ...]

    @property
    def ridge(self) -> float:
        """Products for each byte at which both limits meet."""
        return self.peak / self.bandwidth


@dataclass(frozen=True)
class _Axes:
    """Decades of both axes: intensity to the right, rate upwards."""

    left: float
    right: float
    low: float
    high: float

    def x(self, intensity: float) -> float:
        part = (math.log10(intensity) - self.left) / (self.right - self.left)
        return 100 * min(1.0, max(0.0, part))

    def y(self, rate: float) -> float:
        part = (math.log10(rate) - self.low) / (self.high - self.low)
        return round(_BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, part)), 1)


def roofline(simulation: Simulation) -> Chart:
    """Lay out the layers of `simulation`; one without traffic to DRAM stands at the right edge."""
    peak = max(run.peak_macs for run in simulation.runs) * simulation.accelerator.clock_hz
    roof = Roof(
        peak,
        simulation.accelerator.dram.bytes_per_second,
        "performed MACs for each byte of DRAM traffic",
        "no DRAM traffic",
        (
            Key("memory", "left of the ridge: DRAM is the limit"),
            Key("compute", "right of it: the multipliers are"),
        ),
    )
    note = (
        f"Each dot is a layer, its area its share of the time. Roof: {short_count(peak)}MAC/s of the multipliers, "
        f"{short_count(roof.bandwidth)}B/s of DRAM; they meet at {number_text(roof.ridge)} MAC/byte."
    )
    return roofline_chart(note, list(_points(simulation)), roof)


def roofline_chart(note: str, points: Sequence[RooflinePoint], roof: Roof) -> Chart:
    """Lay out `points`, of which each is drawn over those before it."""
    axes = _axes(points, roof)
    knee = f"{axes.x(roof.ridge):.3f}%"
    foot = 10 ** max(axes.left, axes.low - math.log10(roof.bandwidth))
    lines = (
        *_grid(axes),
        Line(f"{axes.x(foot):.3f}%", axes.y(foot * roof.bandwidth), knee, axes.y(roof.peak), "roof"),
        Line(knee, axes.y(roof.peak), "100%", axes.y(roof.peak), "roof"),
    )
    texts = (*_ticks(axes, roof), *_names(points, axes))
    dots = tuple(_dot(point, axes, roof) for point in points)
    return Chart("Roofline", note, HEIGHT, (), texts, roof.keys, "", lines, dots)


def _points(simulation: Simulation) -> Iterator[RooflinePoint]:
    """Layers that perform products, the slowest first, so that small dots lie on large ones."""
    total = sum(run.cycles for run in simulation.runs)
    for run in sorted(simulation.runs, key=lambda run: -run.cycles):
        if not run.performed_macs or not run.cycles:
            continue
        seconds, moved = run.cycles / simulation.accelerator.clock_hz, run.bytes(Level.DRAM)
        intensity, share = run.performed_macs / moved if moved else math.inf, run.cycles / total
        title = f"{time_text(seconds)} ({percent_text(share)} of the time)"
        yield RooflinePoint(run.layer.name, intensity, run.performed_macs / seconds, share, title)


def _axes(points: Sequence[RooflinePoint], roof: Roof) -> _Axes:
    intensities = [roof.ridge, *(point.intensity for point in points if math.isfinite(point.intensity))]
    rates = [roof.peak, *(point.rate for point in points)]
    return _Axes(
        math.floor(math.log10(min(intensities)) - 0.2),
        math.ceil(math.log10(max(intensities)) + 0.2),
        math.floor(math.log10(min(rates))),
        math.log10(max(rates)) + 0.15,
    )


def _grid(axes: _Axes) -> Iterator[Line]:
    for decade in range(math.ceil(axes.left), math.floor(axes.right) + 1):
        x = f"{axes.x(10.0**decade):.3f}%"
        yield Line(x, _TOP, x, _BOTTOM, "grid")
    for decade in range(math.ceil(axes.low), math.floor(axes.high) + 1):
        y = axes.y(10.0**decade)
        yield Line("0%", y, "100%", y, "grid")


def _ticks(axes: _Axes, roof: Roof) -> Iterator[Text]:
    """Labels below the vertical lines and above the horizontal ones."""
    first, last = math.ceil(axes.left), math.floor(axes.right)
    for decade in range(first, last + 1):
        place = "tick start" if decade == first else "tick end" if decade == last else "tick"
        yield Text(f"{axes.x(10.0**decade):.3f}%", _TICK_TEXT, number_text(10.0**decade), place)
    for decade in range(math.ceil(axes.low), math.floor(axes.high) + 1):
        yield Text("0%", round(axes.y(10.0**decade) - 4), f"{short_count(10.0**decade)}MAC/s", "tick start")
    yield Text("50%", _AXIS_TITLE, roof.axis, "tick")


def _names(points: Sequence[RooflinePoint], axes: _Axes) -> Iterator[Text]:
    """The names of the slowest layers, but for those whose names would lie on each other."""
    places: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: -point.share)[:_NAMED]:
        x, y = axes.x(min(point.intensity, 10.0**axes.right)), axes.y(point.rate)
        if all(abs(x - other[0]) > _APART_PERCENT or abs(y - other[1]) > _APART_PIXELS for other in places):
            places.append((x, y))
            yield _name(point, axes)


def _name(point: RooflinePoint, axes: _Axes) -> Text:
    x = axes.x(point.intensity) if math.isfinite(point.intensity) else 100.0
    side = "dot-name end" if x > 60 else "dot-name"
    shift = -(_radius(point) + 4)
    return Text(f"{x:.3f}%", round(axes.y(point.rate) + shift), point.name, side)


def _radius(point: RooflinePoint) -> float:
    return round(max(_LEAST_RADIUS, _MOST_RADIUS * math.sqrt(point.share)), 1)


def _dot(point: RooflinePoint, axes: _Axes, roof: Roof) -> Dot:
    is_finite = math.isfinite(point.intensity)
    x = axes.x(point.intensity) if is_finite else 100.0
    css = "dot memory" if point.intensity < roof.ridge else "dot compute"
    byte = f"{number_text(point.intensity)} MAC/byte" if is_finite else roof.no_bytes
    title = f"{point.name}: {byte}, {short_count(point.rate)}MAC/s, {point.title}"
    return Dot(f"{x:.3f}%", axes.y(point.rate), _radius(point), css, title)
