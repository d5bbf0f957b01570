"""A trained graph with quantisers becomes exact integers: weights their codes, staircases thresholds, and what stands
between two of them (scales, biases, batch norms, activations) the thresholds of the latter.

With s the exact sum, sign(gamma * (s - mean) / deviation + beta) is s >= ceil(t) for gamma > 0, s <= floor(t) for
gamma < 0 and constant for gamma = 0, where t = mean - beta * deviation / gamma (Umuroglu et al. 2017, FINN).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from bitkiln.ir import (
    Builder,
    Const,
    Diagnostic,
    Float,
    Graph,
    Int,
    Node,
    TensorType,
    ToolError,
    fail,
    prune_dead,
    verify,
)
from bitkiln.ir.ops import (
    ActivationQuantiser,
    Dequantise,
    Div,
    IncrementalWeight,
    MaxPool2d,
    Mul,
    MultiThreshold,
    WeightQuantiser,
)
from bitkiln.ir.ops.trained import column

from ._base import Context, Keeps, Pass, Weights
from .grids import Grid, point_of
from .streamline import streamline


@dataclass(frozen=True)
class Harden(Pass):
    """Turn the quantisers that a graph was trained with into integer codes and thresholds.

    Keeps every code of every quantiser and the order of the scores; a factor that all scores have in common is left
    out. What the float graph rounds (sums, batch norm) is exact here: the two differ where that rounding decides.
    """

    name: ClassVar[str] = "harden"
    keeps: ClassVar[Keeps] = Keeps.BITS
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.LATENT})
    makes: ClassVar[Weights | None] = Weights.CODES

    def run(self, graph: Graph, context: Context) -> Graph:
        return harden(graph)


def harden(graph: Graph) -> Graph:
    """Return the integer form; raises ToolError `nothing-to-harden`, or `cannot-harden` where weights are not constant
    or not all frozen yet."""
    quantisers = [node for node in graph.nodes if isinstance(node.op, WeightQuantiser | ActivationQuantiser)]
    if not quantisers:
        hint = "put binarise, fake_quantise or freeze_powers and tune before harden"
        raise fail("nothing-to-harden", f"{graph.name} has no quantisers that were trained", hint=hint)
    findings = [finding for node in quantisers if (finding := _finding(graph, node))]
    if findings:
        raise ToolError(*findings)
    graph = _before_pools(graph)
    build, values, grids = Builder(graph.name), dict[str, str](), dict[int, Grid]()
    for value in graph.inputs:
        values[value.name] = build.input(value.name, value.type)
    for const in graph.consts:
        if not _is_latent(graph, const):
            values[const.name] = build.constant(const.name, const.type, const.data)
    for node in graph.nodes:
        match node.op:
            case WeightQuantiser():
                values[node.name], grid = _fixed_weight(build, graph, node, node.op)
                grids[grid.data.data_ptr()] = grid
            case ActivationQuantiser():
                values[node.name] = _thresholds(build, graph, node, node.op, values[node.args[0]])
            case _:
                args = tuple(values[arg] for arg in node.args)
                values[node.name] = build.add(node.op, args, node.name, node.loc)
    fixed = build.graph([values[name] for name in graph.outputs])
    return _whole_scores(streamline(fixed, grids))


def _finding(graph: Graph, node: Node) -> Diagnostic | None:
    constants = node.args if isinstance(node.op, WeightQuantiser) else node.args[1:]
    moving = [arg for arg in constants if arg not in graph.const]
    if moving:
        message = f"%{node.name}: %{moving[0]} is no constant, so {node.op.name} cannot be fixed"
        return Diagnostic("cannot-harden", message, node.loc, "quantise weights once, by one method")
    if isinstance(node.op, IncrementalWeight):
        is_frozen = graph.const[node.args[2]].data
        left = int((is_frozen == 0).sum())
        if left:
            message = f"%{node.name}: {left} of {is_frozen.numel()} weights are not frozen yet"
            return Diagnostic("cannot-harden", message, node.loc, "freeze_powers with portion = 1.0 before harden")
    return None


def _before_pools(graph: Graph) -> Graph:
    """The graph with staircases before the max pools that only they read: the code of the greatest is the greatest
    code, and narrow codes are cheaper to pool."""
    nodes = dict(graph.node)
    for node in graph.nodes:
        pool = nodes.get(node.args[0])
        if not isinstance(node.op, ActivationQuantiser) or pool is None or not isinstance(pool.op, MaxPool2d):
            continue
        if len(graph.users[pool.name]) > 1 or pool.name in graph.outputs:
            continue
        before = graph.types[pool.args[0]]
        # Each keeps its place in the order and takes the other's operation; only names of values within change.
        nodes[pool.name] = replace(pool, op=node.op, args=(pool.args[0], *node.args[1:]), type=before, loc=node.loc)
        nodes[node.name] = replace(node, op=pool.op, args=(pool.name,), loc=pool.loc)
    return verify(replace(graph, nodes=tuple(nodes.values())))


def _is_latent(graph: Graph, const: Const) -> bool:
    """True if only quantisers of weights read the constant: its name goes to what they make of it."""
    users = graph.users[const.name]
    return bool(users) and all(isinstance(user.op, WeightQuantiser) for user in users)


def _fixed_weight(build: Builder, graph: Graph, node: Node, op: WeightQuantiser) -> tuple[str, Grid]:
    """The weights as codes times scales, in 32-bit floats under the latent weights' name."""
    with torch.no_grad():
        codes, scale = op.codes(*(graph.const[arg].data.to(torch.float32) for arg in node.args))
        data = (codes * column(scale, codes.dim())).contiguous()
    name = build.constant(node.args[0], TensorType(tuple(data.shape), Float()), data)
    return name, Grid(data, scale)


def _thresholds(build: Builder, graph: Graph, node: Node, op: ActivationQuantiser, x: str) -> str:
    """A staircase as thresholds on floats, and its codes as the numbers that they stand for."""
    with torch.no_grad():
        stairs = op.staircase(*(graph.const[arg].data.to(torch.float32) for arg in node.args[1:]))
    frac, left = point_of(stairs.scale)
    levels = stairs.thresholds.to(torch.float32).reshape(1, -1)
    name = build.constant(f"{node.name}.thresholds", TensorType(tuple(levels.shape), Float()), levels)
    quantiser = MultiThreshold(Int.holding(*stairs.code_range, frac), (stairs.base,), (stairs.step,))
    codes = build.add(quantiser, (x, name), node.name, node.loc)
    value = build.add(Dequantise((frac,)), (codes,), f"{node.name}.value", node.loc)
    if left == 1:
        return value
    factor = build.constant(f"{node.name}.scale", TensorType((), Float()), torch.tensor(left, dtype=torch.float32))
    return build.add(Mul(), (value, factor), f"{node.name}.scaled", node.loc)


def _whole_scores(graph: Graph) -> Graph:
    """The graph with outputs that are codes times one positive factor replaced by the codes."""
    outputs = tuple(_codes_below(graph, name) or name for name in graph.outputs)
    return verify(prune_dead(replace(graph, outputs=outputs)))


def _codes_below(graph: Graph, name: str) -> str | None:
    node = graph.node.get(name)
    if node is None:
        return None
    match node.op:
        case Dequantise(frac) if len(frac) == 1:
            return node.args[0]
        case Mul() | Div():
            factor = graph.const.get(node.args[1])
            is_factor = factor is not None and factor.data.numel() == 1 and float(factor.data) > 0
            return _codes_below(graph, node.args[0]) if is_factor else None
        case _:
            return None
