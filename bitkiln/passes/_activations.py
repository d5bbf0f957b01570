"""ReLU and clip on codes: a saturation of the requantisation before them, or one of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from bitkiln.ir import Graph, Int, Node, verify
from bitkiln.ir.ops import (
    Add,
    AvgPool2d,
    Clip,
    Conv2d,
    Expand,
    Flip,
    Linear,
    MaxPool2d,
    Op,
    Pad,
    Permute,
    Relu,
    Reshape,
    Roll,
    Slice,
    Take,
)

ACCUMULATING = (Linear, Conv2d, Add, AvgPool2d)
"""Operations whose exact result is wider than its arguments: a requantisation follows each."""

MOVES = (MaxPool2d, Reshape, Permute, Slice, Pad, Expand, Roll, Flip, Take)
"""Operations that hand codes on as they are, in the same format."""


def sole_source(graph: Graph, value: str) -> Node | None:
    """Return the node that computes what `value` holds, before any moves, if nothing else reads it on the way."""
    node = graph.node.get(value)
    if node is None or len(graph.users[value]) != 1 or value in graph.outputs:
        return None
    return sole_source(graph, node.args[0]) if isinstance(node.op, MOVES) else node


def hoist_activations(graph: Graph) -> Graph:
    """Return the graph with each ReLU or Clip before the moves that separate it from its accumulating node.

    The largest of clipped elements is the largest one, clipped: `relu(max_pool2d(conv(x)))` becomes
    `max_pool2d(relu(conv(x)))`, whose ReLU costs nothing.
    """
    for node in graph.nodes:
        before = graph.node.get(node.args[0])
        if before and isinstance(node.op, Relu | Clip) and isinstance(before.op, MOVES):
            source = sole_source(graph, before.name)
            if source and isinstance(source.op, ACCUMULATING):
                return hoist_activations(_swapped(graph, before, node))
    return graph


def _swapped(graph: Graph, move: Node, activation: Node) -> Graph:
    """The graph with the activation in the place of the move before it, and the move behind."""
    first = replace(activation, args=move.args, type=graph.types[move.args[0]])
    then = replace(move, args=(activation.name,), type=activation.type)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node is move:
            nodes += [first, then]
        elif node is not activation:
            args = tuple(move.name if arg == activation.name else arg for arg in node.args)
            nodes.append(replace(node, args=args))
    outputs = tuple(move.name if name == activation.name else name for name in graph.outputs)
    return verify(replace(graph, nodes=tuple(nodes), outputs=outputs))


def fused_activations(graph: Graph) -> Mapping[str, Node]:
    """Return, for each accumulating node that nothing but one ReLU or Clip reads, that activation."""
    fused: dict[str, Node] = {}
    for node in graph.nodes:
        users = graph.users[node.name]
        is_free = len(users) == 1 and node.name not in graph.outputs
        if is_free and isinstance(node.op, ACCUMULATING) and isinstance(users[0].op, Relu | Clip):
            fused[node.name] = users[0]
    return fused


def rectifies(op: Op) -> bool:
    """True if the result is never negative."""
    return isinstance(op, Relu) or (isinstance(op, Clip) and op.lo == 0)


def clipping_below(number: Int, op: Op) -> Int:
    """Return `number` with its point so far right that its lowest code is not below a Clip's lower end."""
    if rectifies(op) or not isinstance(op, Clip) or op.lo == -math.inf:
        return number
    return replace(number, frac=max(number.fracs[0], number.bits - _power(op.lo) - 1))


def is_supported_clip(op: Clip) -> bool:
    """True if codes can saturate at both ends: the lower one is 0, minus a power of two or minus infinity."""
    return op.lo <= 0 <= op.hi and (op.lo in (0, -math.inf) or math.frexp(op.lo)[0] == -0.5)


def saturated(x: Int, op: Op) -> Int:
    """Return the narrowest format at the point of `x` that holds its codes after a Relu or Clip."""
    if not x.signed:
        return x
    if rectifies(op):
        return Int(max(1, x.bits - 1), False, x.frac)
    assert isinstance(op, Clip) and is_supported_clip(op) and isinstance(x.frac, int)
    if op.lo == -math.inf:
        return x
    return replace(x, bits=min(x.bits, max(1, _power(op.lo) + x.frac + 1)))


def upper_code(number: Int, op: Op | None) -> int | None:
    """Return the code of a Clip's upper end in `number`, or None if the format itself saturates there or before."""
    if not isinstance(op, Clip):
        return None
    limit = op.hi * 2.0 ** number.fracs[0] + 0.5
    return math.floor(limit) if limit < number.hi else None


def _power(lo: float) -> int:
    """k of a lower end -2**k."""
    return math.frexp(-lo)[1] - 1
