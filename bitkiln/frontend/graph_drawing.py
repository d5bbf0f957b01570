"""A Graph as a picture: SVG, from top to bottom, without any tool.

Layers as Sugiyama, Tagawa and Toda (1981) draw them: a node stands below all that it reads, an edge over several rows
gets a place in each of them so that it runs around the boxes, and each row is ordered by the means of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bitkiln.ir import Graph

_SWEEPS = 4
_CHARACTER, _LINE, _PADDING = 6.7, 15.0, 8.0  # of an 11 px monospaced font
_BOX_HEIGHT, _ROW_HEIGHT, _GAP, _LANE = 2 * _LINE + 8, 2 * _LINE + 46, 18.0, 14.0
_LONGEST_NAME = 34

_STYLE = """text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#1c1c1c}
.op{fill:#555}rect{stroke:#888;rx:4px}path{fill:none;stroke:#999;stroke-width:1.2}
.input,.output{fill:#e8e8e8}.product{fill:#cfe3f7}.function{fill:#d9f0d3}.pool{fill:#fbe3c5}.norm{fill:#eadcf4}
.move{fill:#f4f4f4}.code{fill:#fbd5d5}.other{fill:#fff6c8}.back{fill:#fff;stroke:none}"""

# Families of operations, by colour.
_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "product": ("linear", "conv2d", "conv_transpose2d", "matmul", "attention"),
    "pool": ("max_pool2d", "avg_pool2d", "sum_pool2d", "adaptive_avg_pool2d", "resize"),
    "norm": ("batch_norm", "scale_shift", "layer_norm", "group_norm", "softmax", "log_softmax"),
    "move": ("reshape", "concat", "permute", "slice", "pad", "expand", "roll", "flip", "take"),
    "code": ("quantise", "dequantise", "requantise", "quantise_scaled", "multi_threshold", "decode"),
    "other": ("add", "mul", "div", "reduce_mean", "reduce_sum", "reduce_max", "reduce_norm", "top_k"),
}


@dataclass(frozen=True)
class _Box:
    """A value: what it is called, what gives it, and what to say when the mouse is on it."""

    name: str
    label: str
    family: str
    tip: str
    sources: tuple[str, ...]

    @property
    def width(self) -> float:
        return max(min(len(self.name), _LONGEST_NAME), len(self.label)) * _CHARACTER + 2 * _PADDING


@dataclass(frozen=True)
class _Place:
    """A box in its row, or (without one) where an edge passes that row."""

    box: _Box | None

    @property
    def width(self) -> float:
        return self.box.width if self.box else _LANE


def draw_graph(graph: Graph) -> str:
    """Return the SVG of `graph`; equal graphs have equal pictures. Constants are counted in their nodes, not drawn."""
    boxes = list(_boxes(graph))
    rows, edges = _rows(boxes)
    centres = _centres(rows, edges)
    placed = [
        (place, x, i * _ROW_HEIGHT)
        for i, (row, xs) in enumerate(zip(rows, centres, strict=True))
        for place, x in zip(row, xs, strict=True)
    ]
    left = min(x - place.width / 2 for place, x, _ in placed)
    right = max(x + place.width / 2 for place, x, _ in placed)
    width, height = right - left + 2 * _GAP, len(rows) * _ROW_HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{left - _GAP:.0f} {-_GAP:.0f} {width:.0f} {height:.0f}">',
        f"<title>{escape(graph.name)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="back" x="{left - _GAP:.0f}" y="{-_GAP:.0f}" width="100%" height="100%"/>',
        *(_edge(rows, centres, edge) for edge in edges),
        *(_rectangle(place.box, x, y) for place, x, y in placed if place.box),
    ]
    return "\n".join([*lines, "</svg>", ""])


def _boxes(graph: Graph) -> Iterable[_Box]:
    """Inputs, nodes, and a box for each output."""
    for value in graph.inputs:
        yield _Box(value.name, f"input {value.type}", "input", "", ())
    for node in graph.nodes:
        params = sum(graph.const[arg].type.elements for arg in node.args if arg in graph.const)
        tip = f"%{node.name} = {node.op}\n{params:,} parameters, {graph.macs(node):,} multiply-accumulates\n{node.loc}"
        family = next((family for family, names in _FAMILIES.items() if node.op.name in names), "function")
        sources = tuple(dict.fromkeys(arg for arg in node.args if arg not in graph.const))
        yield _Box(node.name, f"{node.op.name} {node.type}", family, tip, sources)
    for i, name in enumerate(graph.outputs):
        if name not in graph.const:
            yield _Box(f"output {i + 1}", "", "output", "", (name,))


# The position of a place: its row and its index there.
_Position = tuple[int, int]


def _rows(boxes: Sequence[_Box]) -> tuple[list[list[_Place]], list[tuple[_Position, _Position]]]:
    """Each box in the row below its lowest source; edges between neighbouring rows, by way of lanes."""
    depth: dict[str, int] = {}
    rows: list[list[_Place]] = []
    position: dict[str, _Position] = {}
    edges: list[tuple[_Position, _Position]] = []

    def put(row: int, place: _Place) -> _Position:
        rows.extend([] for _ in range(row + 1 - len(rows)))
        rows[row].append(place)
        return row, len(rows[row]) - 1

    lanes: dict[tuple[str, int], _Position] = {}
    for i, box in enumerate(boxes):
        key = box.name if box.family != "output" else f"output {i}"
        depth[key] = max((depth[source] + 1 for source in box.sources), default=0)
        for source in box.sources:  # the users of a value share its lanes
            for row in range(depth[source] + 1, depth[key]):
                if (source, row) not in lanes:
                    lanes[source, row] = put(row, _Place(None))
                    edges.append((lanes.get((source, row - 1), position[source]), lanes[source, row]))
        position[key] = put(depth[key], _Place(box))
        edges += [(lanes.get((source, depth[key] - 1), position[source]), position[key]) for source in box.sources]
    return rows, edges


def _centres(rows: list[list[_Place]], edges: list[tuple[_Position, _Position]]) -> list[list[float]]:
    """The middle of every place. Rows are sorted by the means of their neighbours, above and below in turn; the places
    of a row then stand side by side, as near to these means as they can together."""
    above: dict[_Position, list[_Position]] = {}
    below: dict[_Position, list[_Position]] = {}
    for upper, lower in edges:
        above.setdefault(lower, []).append(upper)
        below.setdefault(upper, []).append(lower)
    centres = [_side_by_side(row, list(range(len(row))), [0.0] * len(row)) for row in rows]
    for sweep in range(2 * _SWEEPS):
        neighbours, order = (above, range(len(rows))) if sweep % 2 == 0 else (below, range(len(rows) - 1, -1, -1))
        for i in order:
            wanted = []
            for k in range(len(rows[i])):
                near = [centres[row][at] for row, at in neighbours.get((i, k), ())]
                wanted.append(sum(near) / len(near) if near else centres[i][k])
            ranked = sorted(range(len(rows[i])), key=lambda k: (wanted[k], k))
            centres[i] = _side_by_side(rows[i], ranked, wanted)
    return centres


def _side_by_side(row: Sequence[_Place], ranked: Sequence[int], wanted: Sequence[float]) -> list[float]:
    """Places in this order without overlap, moved as a whole to where they want to be on average."""
    centres, edge = [0.0] * len(row), 0.0
    for k in ranked:
        centres[k] = max(wanted[k], edge + row[k].width / 2) if k != ranked[0] else wanted[k]
        edge = centres[k] + row[k].width / 2 + _GAP
    shift = sum(wanted[k] - centres[k] for k in ranked) / len(row)
    return [centre + shift for centre in centres]


def _edge(rows: list[list[_Place]], centres: list[list[float]], edge: tuple[_Position, _Position]) -> str:
    """A curve from one row to the next; inside a lane it goes straight on."""
    (upper_row, upper), (lower_row, lower) = edge
    x, y = centres[upper_row][upper], upper_row * _ROW_HEIGHT + _BOX_HEIGHT
    to_x, to_y = centres[lower_row][lower], lower_row * _ROW_HEIGHT
    middle = (y + to_y) / 2
    through = "" if rows[upper_row][upper].box else f"M{x:.1f},{y - _BOX_HEIGHT:.1f}L{x:.1f},{y:.1f}"
    return f'<path d="{through}M{x:.1f},{y:.1f}C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"/>'


def _rectangle(box: _Box, x: float, y: float) -> str:
    name = box.name if len(box.name) <= _LONGEST_NAME else f"…{box.name[1 - _LONGEST_NAME :]}"
    texts = [(name, "", _LINE), (box.label, ' class="op"', 2 * _LINE)]
    shown = "".join(
        f'<text{style} x="{x:.1f}" y="{y + down:.1f}" text-anchor="middle">{escape(text)}</text>'
        for text, style, down in texts
        if text
    )
    return (
        f'<g><title>{escape(box.tip or box.name)}</title><rect class="{box.family}" x="{x - box.width / 2:.1f}" '
        f'y="{y:.1f}" width="{box.width:.1f}" height="{_BOX_HEIGHT:.1f}"/>{shown}</g>'
    )
