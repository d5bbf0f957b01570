"""Which codes each fixed-point value can take, from the actual weights: the widths of accumulators follow."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from .diagnostics import Location, fail
from .graph import Graph, Node, row_sums
from .numbers import Float, Int
from .ops import (
    Add,
    Concat,
    Conv2d,
    Expand,
    Flip,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Pad,
    Permute,
    QuantiseScaled,
    Relu,
    Requantise,
    Reshape,
    Resize,
    Roll,
    Slice,
    SumPool2d,
    Take,
    TopK,
)
from .ops.activation import Pointwise

Range = tuple[int, int]

_MOVES = (MaxPool2d, Reshape, Concat, Permute, Slice, Expand, Roll, Flip, Take, Resize)

# Every integer of up to so many bits is exact in the dtype.
_EXACT_BITS = ((24, torch.float32), (53, torch.float64))


def code_ranges(graph: Graph) -> Mapping[str, Range]:
    """Return (lowest, highest) code of every fixed-point value.

    Inputs can be all codes of their format. The range of a product with constant weights is attained by some input
    codes, unless those are limited by earlier products; every other range is a bound.
    """
    ranges: dict[str, Range] = {}
    for value in graph.inputs:
        if isinstance(value.type.number, Int):
            ranges[value.name] = value.type.number.lo, value.type.number.hi
    for const in graph.consts:
        if isinstance(const.type.number, Int):
            ranges[const.name] = const.code_range
    for node in graph.nodes:
        if isinstance(node.type.number, Int):
            ranges[node.name] = _node_range(graph, node, ranges)
    return ranges


def exact_dtype(graph: Graph) -> torch.dtype:
    """Return the float dtype in which every integer of the graph is exact: float32 up to 2**24, else float64.

    Counts what evaluation meets on the way, too: partial sums before the bias, products and halves of
    requantisations. A function between codes takes float64: its rounding depends on how many elements are computed at
    once, and in float32 that could decide a code. Raises ToolError `accumulator-too-wide` above 2**53.
    """
    ranges = code_ranges(graph)
    largest, loc = max((max(-lo, hi) for lo, hi in ranges.values()), default=0), Location()
    for node in graph.nodes:
        needed = _largest_step(graph, node, ranges)
        if needed > largest:
            largest, loc = needed, node.loc
    has_functions = _has_functions(graph)
    for bits, dtype in _EXACT_BITS:
        if largest <= 1 << bits and not (has_functions and dtype is torch.float32):
            return dtype
    raise fail(
        "accumulator-too-wide",
        f"{graph.name} needs integers up to {largest}; exact evaluation ends at 2**53",
        loc,
        "use fewer bits for weights or activations",
    )


def _has_functions(graph: Graph) -> bool:
    """True if codes depend on a function of floats."""
    decisive: set[str] = set()
    for node in reversed(graph.nodes):
        if not node.type.is_float or node.name in decisive:
            if node.type.is_float and isinstance(node.op, Pointwise):
                return True
            decisive.update(node.args)
    return False


def _node_range(graph: Graph, node: Node, ranges: Mapping[str, Range]) -> Range:
    number = node.type.number
    assert isinstance(number, Int)
    args = [ranges.get(arg, (number.lo, number.hi)) for arg in node.args]
    match node.op:
        case Requantise():
            return _requantised(node.op, *args[0])
        case TopK() | QuantiseScaled() | MultiThreshold():
            return _possible_codes(graph, node)
        case Linear() | Conv2d() if node.args[1] in graph.const:
            low, high = _sum_range(*graph.const[node.args[1]].row_sums, _bias(graph, node), args[0])
            if len(node.args) > 2 and node.args[2] not in graph.const:
                low, high = low + args[2][0], high + args[2][1]
            return low, high
        case op if isinstance(op, _MOVES):
            return min(low for low, _ in args), max(high for _, high in args)
        case Pad():
            return min(0, args[0][0]), max(0, args[0][1])
        case Relu():
            return max(0, args[0][0]), max(0, args[0][1])
        case SumPool2d():
            window = math.prod(node.op.kernel)
            return min(0, args[0][0] * window), max(0, args[0][1] * window)
        case Add():
            shifted = [(low << s, high << s) for (low, high), s in zip(args, node.op.shifts, strict=True)]
            return sum(low for low, _ in shifted), sum(high for _, high in shifted)
        case _:
            return number.lo, number.hi


def _possible_codes(graph: Graph, node: Node) -> Range:
    """What an operation can give whatever its first argument is."""
    match node.op:
        case TopK():
            return 0, graph.types[node.args[0]].shape[1] - 1
        case QuantiseScaled():
            return node.op.code_range
        case MultiThreshold():
            return node.op.code_range(graph.types[node.args[1]].shape[1])
        case _:
            raise AssertionError(f"{node.op.name} says nothing about its codes")


def _requantised(op: Requantise, low: int, high: int) -> Range:
    """Both ends through the requantisation, which is monotone, with each channel's shift."""
    least, most = op.limits
    ends: list[int] = []
    for product in (low * op.multiplier, high * op.multiplier):
        for shift in op.shift:
            code = (product + (1 << (shift - 1))) >> shift if shift > 0 else product << -shift
            ends.append(min(max(code, least), most))
    return min(ends), max(ends)


def _largest_step(graph: Graph, node: Node, ranges: Mapping[str, Range]) -> int:
    """Largest magnitude that the evaluation of a node meets besides its arguments and its result."""
    match node.op:
        case Linear() | Conv2d() if node.args[0] in ranges and node.args[1] in graph.const:
            low, high = _sum_range(*graph.const[node.args[1]].row_sums, None, ranges[node.args[0]])
            return max(-low, high)
        case Requantise():
            low, high = ranges[node.args[0]]
            product = max(-low, high) * node.op.multiplier
            halves = [1 << shift >> 1 for shift in node.op.shift if shift > 0]
            # From 2 * product on, the quotient lies within 1/4 of 0 and the half cannot round it to another code.
            return product + max((half for half in halves if half < 2 * product), default=0)
        case _:
            return 0


def _bias(graph: Graph, node: Node) -> Tensor | None:
    return graph.const[node.args[2]].data if len(node.args) > 2 and node.args[2] in graph.const else None


def product_range(weight: Tensor, bias: Tensor | None, x: Range) -> Range:
    """Smallest and largest sum of products over all output channels (axis 0), for inputs in `x` or zero (padding).

    Every partial sum of the products lies between the results without bias.
    """
    return _sum_range(*row_sums(weight), bias, x)


def _sum_range(positive: Tensor, negative: Tensor, bias: Tensor | None, x: Range) -> Range:
    lo_x, hi_x = min(0, x[0]), max(0, x[1])
    offset = bias.to(torch.int64) if bias is not None else torch.zeros_like(positive)
    low = positive * lo_x + negative * hi_x + offset
    high = positive * hi_x + negative * lo_x + offset
    return int(low.min()), int(high.max())


def is_quantised(graph: Graph) -> bool:
    """True if some value of the graph is fixed point."""
    return any(not isinstance(type_.number, Float) for type_ in graph.types.values())
