"""Tiles walked one after the other: what a buffer holds, what it must fetch, and when each step may begin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from bitkiln.sim._orders import Loop
from bitkiln.sim.workload import Layer


@dataclass
class Walk:
    """The loops over tiles of one group, in steps; traffic in values."""

    layer: Layer
    images: int
    rows: int
    filters: int
    channels: int
    order: tuple[Loop, Loop, Loop]
    weights: int = 0
    inputs: int = 0
    outputs: int = 0
    spills: int = 0
    steps: list[tuple[bool, bool, bool]] = field(default_factory=list)

    def run(self) -> Walk:
        positions = list(self._positions())
        filters = _parts(self.layer.group_filters, self.filters)
        channels = _parts(self.layer.channels // self.layer.groups, self.channels)
        tiles = {
            Loop.POSITIONS: range(len(positions)),
            Loop.FILTERS: range(len(filters)),
            Loop.CHANNELS: range(len(channels)),
        }
        held: dict[str, tuple[int, int] | None] = {"weights": None, "inputs": None, "outputs": None}
        seen: set[tuple[int, int]] = set()
        for place in itertools.product(*(tiles[loop] for loop in self.order)):
            at = dict(zip(self.order, place, strict=True))
            p, n, c = (at[loop] for loop in Loop)
            wanted = {"weights": (n, c), "inputs": (p, c), "outputs": (p, n)}
            changed = {name: held[name] != tile for name, tile in wanted.items()}
            if changed["weights"]:
                self.weights += filters[n] * channels[c] * self.layer.kernel[0] * self.layer.kernel[1]
            if changed["inputs"]:
                self.inputs += self._inputs(positions[p]) * channels[c]
            if changed["outputs"]:
                size = self._outputs(positions[p]) * filters[n]
                self.outputs += 0 if (p, n) in seen else size
                self.spills += size if (p, n) in seen else 0
                seen.add((p, n))
            held.update(wanted)
            self.steps.append((changed["weights"], changed["inputs"], changed["outputs"]))
        groups = self.layer.groups
        self.weights, self.inputs = self.weights * groups, self.inputs * groups
        self.outputs, self.spills = self.outputs * groups, self.spills * groups
        return self

    def _positions(self) -> list[tuple[int, int, int]]:
        """(images, first row, rows) of each tile."""
        height = self.layer.output[0]
        found = []
        for images in _parts(self.layer.batch, self.images):
            first = 0
            for rows in _parts(height, self.rows):
                found.append((images, first, rows))
                first += rows
        return found

    def _inputs(self, tile: tuple[int, int, int]) -> int:
        """Values of one channel: whole input rows that some output row of the tile touches."""
        images, first, rows = tile
        layer, touched = self.layer, set()
        for row in range(first, first + rows):
            for tap in range(layer.kernel[0]):
                y = row * layer.stride[0] - layer.padding[0][0] + tap * layer.dilation[0]
                touched.add(y)
        inside = {y for y in touched if 0 <= y < layer.height}
        return images * len(inside) * layer.width

    def _outputs(self, tile: tuple[int, int, int]) -> int:
        return tile[0] * tile[2] * self.layer.output[1]


def _parts(total: int, size: int) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]
