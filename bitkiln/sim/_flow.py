"""Layout of the Plan as a picture: stages from top to bottom, streams that skip some in lanes at the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._format import count_text
from .design import Design, Layer, Link

_BOX_PIXELS = 50
_LINE_PIXELS = 17
_GAP_PIXELS = 12
_LANE_PIXELS = 12
_STEM_PIXELS = 18
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Box:
    """A stage, or one end of the accelerator; `top` is in pixels."""

    top: int
    height: int
    title: str
    detail: str
    css: str
    hover: str


@dataclass(frozen=True)
class Wire:
    """A line from box to box, as an SVG path."""

    path: str
    title: str


@dataclass(frozen=True)
class Label:
    """What a stream carries, written below the box that it leaves."""

    top: int
    text: str


@dataclass(frozen=True)
class Flow:
    """The picture: `gutter` pixels at the left are for the lanes; `empty` says why there is nothing."""

    height: int
    gutter: int
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    labels: tuple[Label, ...]
    empty: str


@dataclass(frozen=True)
class _Edge:
    link: Link
    source: int
    target: int

    @property
    def is_skip(self) -> bool:
        return self.target > self.source + 1


def flow(design: Design | None, empty: str) -> Flow:
    """Place the stages of `design` below each other."""
    if design is None:
        return Flow(0, 0, (), (), (), empty)
    names = [None, *(layer.name for layer in design.layers), None]
    sources = {name: i for i, name in enumerate(names[:-1])}
    targets = {name: i for i, name in enumerate(names) if i}
    edges = [_Edge(link, sources[link.source], targets[link.target]) for link in design.links]
    edges.sort(key=lambda edge: (edge.source, edge.target))
    leaving: list[list[_Edge]] = [[edge for edge in edges if edge.source == i] for i in range(len(names))]
    tops = _tops(leaving)
    lanes = _lanes([edge for edge in edges if edge.is_skip])
    gutter = _LANE_PIXELS * (1 + max(lanes.values())) if lanes else 0
    wires = [_wire(edge, tops, lanes.get(edge.link.name), gutter) for edge in edges]
    labels = [
        Label(tops[edge.source] + _BOX_PIXELS + 4 + row * _LINE_PIXELS, _label(edge))
        for group in leaving
        for row, edge in enumerate(group)
    ]
    return Flow(tops[-1] + _BOX_PIXELS, gutter, _boxes(design, tops), tuple(wires), tuple(labels), "")


def _tops(leaving: Sequence[Sequence[_Edge]]) -> list[int]:
    tops, top = [], 0
    for group in leaving:
        tops.append(top)
        top += _BOX_PIXELS + _GAP_PIXELS + len(group) * _LINE_PIXELS
    return tops


def _lanes(skips: Sequence[_Edge]) -> dict[str, int]:
    """The lane of each stream that skips stages, 0 nearest to the boxes; those that overlap get different ones."""
    lanes: dict[str, int] = {}
    busy_until: list[int] = []
    for edge in skips:
        lane = next((i for i, end in enumerate(busy_until) if end <= edge.source), len(busy_until))
        busy_until[lane : lane + 1] = [edge.target]
        lanes[edge.link.name] = lane
    return lanes


def _wire(edge: _Edge, tops: Sequence[int], lane: int | None, gutter: int) -> Wire:
    title = f"{edge.link.name}: {_label(edge)}, at most {edge.link.peak} places taken"
    start, end = tops[edge.source] + _BOX_PIXELS, tops[edge.target]
    if lane is None:
        x = gutter + _STEM_PIXELS
        return Wire(f"M{x} {start}V{end}M{x - 3} {end - 5}L{x} {end - 1}L{x + 3} {end - 5}", title)
    x = gutter - 8 - lane * _LANE_PIXELS
    start, end = start - _BOX_PIXELS // 2, end + _BOX_PIXELS // 2
    lane_path = f"M{gutter} {start}H{x + 5}Q{x} {start} {x} {start + 5}V{end - 5}Q{x} {end} {x + 5} {end}H{gutter}"
    return Wire(f"{lane_path}M{gutter - 5} {end - 3}L{gutter - 1} {end}L{gutter - 5} {end + 3}", title)


def _label(edge: _Edge) -> str:
    link = edge.link
    text = f"{link.beat} · {count_text(link.beats)} beats · queue {link.depth}"
    return f"{text} → {link.target or OUTPUT}" if edge.is_skip else text


def _boxes(design: Design, tops: Sequence[int]) -> tuple[Box, ...]:
    first = Box(tops[0], _BOX_PIXELS, INPUT, "from the host", "border", "")
    last = Box(tops[-1], _BOX_PIXELS, OUTPUT, "to the host", "border", "")
    stages = [_stage(layer, top) for layer, top in zip(design.layers, tops[1:-1], strict=True)]
    return (first, *stages, last)


def _stage(layer: Layer, top: int) -> Box:
    folding = "" if layer.pe is None else f" · PE {layer.pe} · SIMD {layer.simd}"
    shape = "x".join(str(size) for size in layer.shape)
    what = f"{layer.op} · {layer.unit}" if layer.op and layer.op != layer.unit else layer.unit
    detail = f"{what}{folding} · {layer.number}[{shape}]"
    css = "compute" if layer.macs else "plain"
    return Box(top, _BOX_PIXELS, layer.name, detail, css, f"{layer.unit} {layer.place}".strip())
