"""Layers that only bring elements to other places: reordering, copying, leaving out, joining."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bitkiln.ir import Graph, Node
from bitkiln.ir.ops import Concat, Expand, Flip, Pad, Permute, Resize, Roll, Slice, Take
from bitkiln.ir.units import ConcatStreams, Gather, Unit

from ._layers import Folding, Format, Layer, divisors, lanes_foldings
from ._orders import Order

MOVES = (Expand, Flip, Pad, Permute, Resize, Roll, Slice, Take)

Places = NDArray[np.int64]
"""For each element that is streamed out, the position in the stream of the one that comes in; -1 is a zero."""


@dataclass(frozen=True, eq=False)
class GatherLayer(Layer):
    """`places` are those of a whole image of `elements_in` elements."""

    element: Format
    elements_in: int
    places: Places = field(repr=False)

    @cached_property
    def block(self) -> tuple[int, Places]:
        """How many equal blocks the image has, as many as can be, and the places within one."""
        given = len(self.places)
        for blocks in reversed(divisors(math.gcd(self.elements_in, given))):
            size = self.elements_in // blocks
            rows = self.places.reshape(blocks, -1)
            within = np.where(rows < 0, -1, rows - np.arange(blocks)[:, None] * size)
            is_alike = bool((within == within[0]).all()) and bool(((rows < 0) | (within >= 0)).all())
            if is_alike and int(within.max()) < size:
                return blocks, within[0]
        raise AssertionError("one block is the whole image")

    def foldings(self) -> tuple[Folding, ...]:
        blocks, within = self.block
        common = math.gcd(self.elements_in // blocks, len(within))
        return tuple(Folding(lanes, lanes) for lanes in divisors(common) if _moves_together(within, lanes))

    def interval(self, folding: Folding) -> int:
        blocks, within = self.block
        taken, given = self.elements_in // blocks // folding.simd, len(within) // folding.simd
        both = taken + given + Gather.RELEASE_DELAY - 1  # from the first write of a place to the next
        return blocks * max(taken, given, -(-both // Gather.PLACES))

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes, (blocks, within) = folding.simd, self.block
        first = within[::lanes]
        source = np.where(first < 0, -1, first // lanes)
        return (("", Gather(self.element.beat(lanes), blocks, self.elements_in // blocks // lanes, source)),)


def _moves_together(places: Places, lanes: int) -> bool:
    """True if runs of `lanes` elements stay runs."""
    runs = places.reshape(-1, lanes)
    is_run = (runs[:, :1] % lanes == 0) & (runs == runs[:, :1] + np.arange(lanes))
    return bool((is_run.all(1) | (runs < 0).all(1)).all())


@dataclass(frozen=True, eq=False)
class ConcatLayer(Layer):
    """Takes `parts[p]` elements from source p, one source after the other, `rounds` times an image."""

    element: Format
    parts: tuple[int, ...]
    rounds: int

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(math.gcd(*self.parts))

    def interval(self, folding: Folding) -> int:
        return self.place.elements // folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes = folding.simd
        return (("", ConcatStreams(self.element.beat(lanes), tuple(p // lanes for p in self.parts), self.rounds)),)


def moved_places(node: Node, source: Order, result: Order, shape: tuple[int, ...]) -> Places:
    """Return where the elements of a move of a value of `shape` come from, both in stream order."""
    numbers = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(shape)
    flat = node.op.evaluate(numbers).reshape(-1).to(torch.int64).numpy() - 1  # a zero of a padding becomes -1
    return stream_places(flat, source, result)


def stream_places(flat: Places, source: Order, result: Order) -> Places:
    """Turn flat places, in the graph's layout, into places of the streams."""
    position = np.empty(len(source) + 1, np.int64)
    position[source], position[-1] = np.arange(len(source)), -1
    return position[flat[result]]


def broadcast_places(shape: tuple[int, ...], wide: tuple[int, ...], source: Order, result: Order) -> Places:
    """Return where the elements come from when a value of `shape` is broadcast to `wide`."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return stream_places(np.broadcast_to(numbers, wide).reshape(-1), source, result)


def concat_parts(graph: Graph, node: Node) -> tuple[tuple[int, ...], int]:
    """Elements of each argument in one round of the stream, and the rounds: maps go row, column, channel."""
    assert isinstance(node.op, Concat)
    shape, axis = node.type.shape, node.op.axis
    axes = (2, 3, 1) if len(shape) == 4 else tuple(range(1, len(shape)))
    outer = axes[: axes.index(axis)]
    rounds = math.prod(shape[i] for i in outer)
    return tuple(graph.types[arg].elements // rounds for arg in node.args), rounds
