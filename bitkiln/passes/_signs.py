"""Channels whose codes fall as their sum rises get the opposite weights, so that one step and base serve all."""

from __future__ import annotations

from dataclasses import replace

import torch

from bitkiln.ir import Const, Graph, Int, Node, TensorType, prune_dead, storage_dtype, verify
from bitkiln.ir.ops import Conv2d, Linear, MultiThreshold


def turn_signs(graph: Graph) -> Graph:
    """Return the graph with rising thresholds wherever the falling ones stand behind a layer of their own.

    Keeps every code: the sums of these channels change their sign, and the thresholds with them.
    """
    consts, nodes = dict(graph.const), dict(graph.node)
    for node in graph.nodes:
        layer = graph.node.get(node.args[0])
        if layer is not None and _is_turnable(graph, layer, node):
            _turn(consts, nodes, layer, node)
    # Formats of weights may have grown by a bit, and those of sums with them.
    types = {value.name: value.type for value in graph.inputs} | {name: const.type for name, const in consts.items()}
    for name, node in nodes.items():
        nodes[name] = replace(node, type=node.op.infer(*(types[arg] for arg in node.args)))
        types[name] = nodes[name].type
    return verify(prune_dead(replace(graph, consts=tuple(consts.values()), nodes=tuple(nodes.values()))))


def _is_turnable(graph: Graph, layer: Node, node: Node) -> bool:
    """True for a layer of codes without bias that only thresholds read, some of which fall, and whose weights are its
    own."""
    if not isinstance(node.op, MultiThreshold) or not isinstance(layer.op, Linear | Conv2d) or len(layer.args) != 2:
        return False
    is_private = len(graph.users[layer.name]) == 1 and layer.name not in graph.outputs
    weight = graph.const.get(layer.args[1])
    if weight is None or len(graph.users[weight.name]) != 1 or not is_private:
        return False
    axis = 1 if isinstance(layer.op, Conv2d) else len(layer.type.shape) - 1
    is_mixed = min(node.op.step) < 0 and len({abs(step) for step in node.op.step}) == 1
    is_plain = isinstance(weight.type.number, Int) and node.args[1] in graph.const
    return is_mixed and is_plain and node.op.axis == axis and len(graph.users[node.args[1]]) == 1


def _turn(consts: dict[str, Const], nodes: dict[str, Node], layer: Node, node: Node) -> None:
    """y = top - step * #(T <= x) is y = bottom + step * #(1 - T <= -x)."""
    op = node.op
    assert isinstance(op, MultiThreshold)
    weight, thresholds = consts[layer.args[1]], consts[node.args[1]]
    channels, count = weight.type.shape[0], thresholds.type.shape[1]
    step = torch.tensor(op.step * channels if len(op.step) == 1 else op.step)
    base = torch.tensor(op.base * channels if len(op.base) == 1 else op.base)
    falls = step < 0
    rows = falls.reshape(-1, *[1] * (weight.data.dim() - 1))
    wide, levels = weight.data.to(torch.int64), thresholds.data.to(torch.int64).expand(channels, -1)
    consts[weight.name] = _const(weight, torch.where(rows, -wide, wide))
    consts[thresholds.name] = _const(thresholds, torch.where(falls[:, None], 1 - levels, levels))
    lowest = torch.where(falls, base + step * count, base).tolist()
    bases = (lowest[0],) if len(set(lowest)) == 1 else tuple(lowest)
    nodes[node.name] = replace(node, op=replace(op, base=bases, step=(int(step.abs().max()),)))


def _const(old: Const, codes: torch.Tensor) -> Const:
    number = old.type.number
    assert isinstance(number, Int)
    low, high = (int(code) for code in codes.aminmax())
    if not number.lo <= low <= high <= number.hi:
        number = Int.holding(low, high, number.frac, number.axis, signed=True)
    return Const(old.name, TensorType(tuple(codes.shape), number), codes.to(storage_dtype(number)))
