"""Which codes each fixed-point value can take, from the actual weights: the widths of accumulators follow."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .diagnostics import fail
from .graph import Graph, Node
from .numbers import Float, Int
from .ops import ArgMax, Conv2d, Linear, Requantise

Range = tuple[int, int]


def code_ranges(graph: Graph) -> Mapping[str, Range]:
    """Return (lowest, highest) code of every fixed-point value; tight for products with constant weights."""
    ranges: dict[str, Range] = {}
    for name, type_ in graph.types.items():
        if isinstance(type_.number, Int):
            node = graph.node.get(name)
            ranges[name] = _node_range(graph, node, ranges) if node else (type_.number.lo, type_.number.hi)
    return ranges


def exact_dtype(graph: Graph) -> torch.dtype:
    """Return the float dtype in which every integer of the graph is exact: float32 below 2**24, else float64."""
    ranges = code_ranges(graph)
    largest = max((max(-lo, hi) for lo, hi in ranges.values()), default=0)
    for node in graph.nodes:
        if isinstance(node.op, Requantise):
            lo, hi = ranges[node.args[0]]
            largest = max(largest, max(-lo, hi) * node.op.multiplier + (1 << max(0, max(node.op.shift) - 1)))
    if largest < 1 << 24:
        return torch.float32
    if largest < 1 << 53:
        return torch.float64
    raise fail("accumulator-too-wide", f"{graph.name} needs integers up to {largest}; exact evaluation ends at 2**53")


def _node_range(graph: Graph, node: Node, ranges: Mapping[str, Range]) -> Range:
    number = node.type.number
    assert isinstance(number, Int)
    match node.op:
        case Requantise():
            return node.op.limits
        case ArgMax():
            return 0, graph.types[node.args[0]].shape[1] - 1
        case Linear() | Conv2d() if node.args[1] in graph.const:
            bias = graph.const[node.args[2]].data if len(node.args) > 2 else None
            return product_range(graph.const[node.args[1]].data, bias, ranges[node.args[0]])
        case _:
            return number.lo, number.hi


def product_range(weight: Tensor, bias: Tensor | None, x: Range) -> Range:
    """Smallest and largest sum of products over all output channels (axis 0), for inputs in `x` or zero (padding)."""
    rows = weight.reshape(weight.shape[0], -1).to(torch.int64)
    positive, negative = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1)
    lo_x, hi_x = min(0, x[0]), max(0, x[1])
    offset = bias.to(torch.int64) if bias is not None else torch.zeros_like(positive)
    low = positive * lo_x + negative * hi_x + offset
    high = positive * hi_x + negative * lo_x + offset
    return int(low.min()), int(high.max())


def is_quantised(graph: Graph) -> bool:
    """True if some value of the graph is fixed point."""
    return any(not isinstance(type_.number, Float) for type_ in graph.types.values())
