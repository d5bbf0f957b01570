"""Threshold nodes as layers, or as the end of the product before them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from bitkiln.ir import Graph, Node
from bitkiln.ir.ops import MultiThreshold
from bitkiln.ir.units import MOST_TABLE_BITS, Thresholds, ThresholdStream, Unit

from ._border import no_unit
from ._islands import LookupLayer
from ._layers import Folding, Format, Layer, Place, lanes_foldings
from ._orders import Order

FEW_THRESHOLDS = 15
MOST_THRESHOLDS = 255
"""A channel has so many at most: each takes a comparator a lane."""


@dataclass(frozen=True, eq=False)
class ThresholdLayer(Layer):
    """`thresholds` has a row for each of the `channels` elements that recur in the stream."""

    channels: int
    input: Format
    thresholds: Thresholds

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(self.channels)

    def interval(self, folding: Folding) -> int:
        return self.place.elements // folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes = folding.simd
        beats, output = self.place.elements // lanes, self.place.output.beat(lanes)
        return (("", ThresholdStream(beats, self.input.beat(lanes), output, self.thresholds)),)


def node_thresholds(graph: Graph, node: Node) -> Thresholds:
    """Return the thresholds of a node, a row a channel."""
    assert isinstance(node.op, MultiThreshold)
    channels = node.type.shape[node.op.axis]
    codes = graph.const[node.args[1]].data.to(torch.int64).sort(1).values.numpy()
    rows = np.broadcast_to(codes, (channels, codes.shape[1]))
    base, step = ((values * channels)[:channels] for values in (node.op.base, node.op.step))
    return Thresholds(rows, base, step)


def few_thresholds(node: Node, thresholds: Thresholds) -> Thresholds:
    """Return `thresholds`; raise ToolError `no-unit` if there are too many to compare with."""
    if thresholds.count > MOST_THRESHOLDS:
        hint = f"at most {MOST_THRESHOLDS}: use fewer bits for this activation"
        raise no_unit(node, f"it has {thresholds.count} thresholds a channel", hint)
    return thresholds


def threshold_layer(node: Node, place: Place, channels: int, source: Format, thresholds: Thresholds) -> Layer:
    """Return a table if all channels compare alike with many thresholds, else comparators. Raises `no-unit`."""
    rows = list(zip(thresholds.values.tolist(), thresholds.base, thresholds.step, strict=True))
    is_function = all(row == rows[0] for row in rows) and source.bits <= MOST_TABLE_BITS
    if is_function and thresholds.count > FEW_THRESHOLDS:
        beat = source.beat(1)
        codes = np.array([[beat.code(field)] * len(rows) for field in range(1 << source.bits)])
        return LookupLayer(place, channels, source, tuple(thresholds.apply(codes)[:, 0].tolist()))
    return ThresholdLayer(place, channels, source, few_thresholds(node, thresholds))


def reordered(thresholds: Thresholds, rows: Order) -> Thresholds:
    """Return the thresholds of these rows, in this order."""
    picked = rows.tolist()
    base, step = (tuple(values[row] for row in picked) for values in (thresholds.base, thresholds.step))
    return Thresholds(thresholds.values[rows], base, step)


def stream_channels(node: Node, order: Order, period: int) -> Order | None:
    """The channel of each of the first `period` elements of a stream, or None if others follow in another order."""
    assert isinstance(node.op, MultiThreshold)
    inner = math.prod(node.type.shape[node.op.axis + 1 :])
    channels: Order = order // inner % node.type.shape[node.op.axis]
    first = channels[:period]
    return first if np.array_equal(channels, np.tile(first, len(channels) // period)) else None
