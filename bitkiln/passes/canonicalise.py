"""One form for graphs that compute the same: constants folded, identities gone, batch norm inside the layer before.

Every importer ends here, so the passes and the generators behind it see few operations. Rules are local rewrites,
applied until none fits; each replaces a node by another on the same inputs, within float rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bitkiln.ir import Const, Float, Graph, Input, Node, TensorType, prune_dead, verify
from bitkiln.ir.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Linear,
    MaxPool2d,
    Relu,
    Reshape,
    ScaleShift,
)


def canonicalise(graph: Graph) -> Graph:
    """Return the canonical form of `graph`. Keeps the function within float rounding, and codes exactly; applying it
    again changes nothing."""
    while (simpler := _once(graph)) is not graph:
        graph = simpler
    return graph


@dataclass
class _Rewrite:
    """A new graph in the making; `renamed` maps values of the old one to what stands for them now."""

    graph: Graph
    types: dict[str, TensorType]
    consts: dict[str, Const]
    nodes: dict[str, Node] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    changed: bool = False

    def has_one_user(self, name: str) -> bool:
        """True if one node reads the value; what a rule made in this round has the one it was made for."""
        if name not in self.graph.types:
            return True
        return len(self.graph.users[name]) == 1 and name not in self.graph.outputs

    def values(self, names: tuple[str, ...]) -> list[Tensor] | None:
        """Data of the constants, or None if one of the names is no float constant."""
        found = [self.consts[name] for name in names if name in self.consts and self.types[name].is_float]
        return [const.data for const in found] if len(found) == len(names) else None

    def constant(self, wanted: str, data: Tensor, replaces: str | None = None) -> str:
        """Add a float constant and return its name: that of `replaces` if nothing else reads it, else `wanted`."""
        if replaces is not None and self.has_one_user(replaces):
            wanted = replaces
        else:
            number, stem = 2, wanted
            while wanted in self.types or wanted in self.graph.types:
                wanted, number = f"{stem}_{number}", number + 1
        type_ = TensorType(tuple(data.shape), Float(8 * data.element_size()))
        self.consts[wanted], self.types[wanted] = Const(wanted, type_, data), type_
        return wanted

    def put(self, node: Node) -> None:
        self.nodes[node.name], self.types[node.name] = node, node.type

    def forward(self, node: Node, value: str) -> None:
        """Let `value` stand for what `node` defined."""
        self.renamed[node.name] = value
        self.changed = True


def _once(graph: Graph) -> Graph:
    """Apply the rules to every node once; returns the same object if nothing changed."""
    leaves: tuple[Input | Const, ...] = (*graph.inputs, *graph.consts)
    state = _Rewrite(graph, {value.name: value.type for value in leaves}, dict(graph.const))
    for old in graph.nodes:
        node = replace(old, args=tuple(state.renamed.get(arg, arg) for arg in old.args))
        if not (_fold_constant(state, node) or _drop(state, node) or _merge(state, node)):
            state.put(node)
    if not state.changed:
        return graph
    outputs = tuple(state.renamed.get(name, name) for name in graph.outputs)
    return verify(
        prune_dead(Graph(graph.name, graph.inputs, tuple(state.consts.values()), tuple(state.nodes.values()), outputs))
    )


def _fold_constant(state: _Rewrite, node: Node) -> bool:
    """A float node on constants becomes a constant."""
    data = state.values(node.args)
    if data is None or not node.type.is_float:
        return False
    with torch.no_grad():
        result = node.op.evaluate(*data)
    state.forward(node, state.constant(node.name + ".folded", result.contiguous()))
    return True


def _drop(state: _Rewrite, node: Node) -> bool:
    """A node that changes nothing is left out."""
    x = node.args[0]
    if not _is_identity(node, state.types[x]):
        return False
    state.forward(node, x)
    return True


def _is_identity(node: Node, x: TensorType) -> bool:
    match node.op:
        case Reshape() | AdaptiveAvgPool2d():
            return node.type == x
        case Concat():
            return len(node.args) == 1
        case MaxPool2d(kernel=(1, 1), stride=(1, 1), padding=(0, 0)):
            return True
        case AvgPool2d(kernel=(1, 1), stride=(1, 1), padding=(0, 0), divisor=None | 1):
            return True
        case Clip(lo, hi):
            return lo == -math.inf and hi == math.inf
        case _:
            return False


def _merge(state: _Rewrite, node: Node) -> bool:
    """A node and the one before it become one."""
    before = state.nodes.get(node.args[0])
    match node.op:
        case Reshape() if before is not None and isinstance(before.op, Reshape):
            state.put(replace(node, args=before.args))
        case Relu() | Clip() if before is not None and isinstance(before.op, Relu | Clip):
            return _merge_clips(state, before, node)
        case BatchNorm(eps):
            parameters = state.values(node.args[1:])
            if parameters is None:
                return False
            gamma, beta, mean, variance = (data.to(torch.float64) for data in parameters)
            scale = gamma / torch.sqrt(variance + eps)
            return _apply_affine(state, node, scale, beta - mean * scale)
        case ScaleShift() if before is not None and (data := state.values(node.args[1:])) is not None:
            if not _takes_affine(state, before, node):
                return False
            return _apply_affine(state, node, data[0].to(torch.float64), data[1].to(torch.float64))
        case _:
            return False
    state.changed = True
    return True


def _merge_clips(state: _Rewrite, before: Node, node: Node) -> bool:
    """Clip after clip is one clip to the common range, if there is one."""
    (lo, hi), (inner_lo, inner_hi) = _limits(node), _limits(before)
    lo, hi = max(lo, inner_lo), min(hi, inner_hi)
    if lo > hi:
        return False
    if (lo, hi) == (inner_lo, inner_hi):
        state.forward(node, before.name)
        return True
    op = Relu() if (lo, hi) == (0, math.inf) else Clip(lo, hi)
    state.put(replace(node, op=op, args=before.args))
    state.changed = True
    return True


def _limits(node: Node) -> tuple[float, float]:
    return (node.op.lo, node.op.hi) if isinstance(node.op, Clip) else (0, math.inf)


def _takes_affine(state: _Rewrite, before: Node | None, node: Node) -> bool:
    """True if scale and shift of axis 1 can go into the weights of the node before, which nobody else sees. (If the
    node before came to stand there in this very round, the next round decides.)"""
    reads_it = before is not None and state.graph.node[node.name].args[0] == before.name
    if before is None or not reads_it or not state.has_one_user(before.name):
        return False
    is_last_axis = len(node.type.shape) == 2
    is_layer = isinstance(before.op, Conv2d | ScaleShift) or (isinstance(before.op, Linear) and is_last_axis)
    return is_layer and state.values(before.args[1:]) is not None


def _apply_affine(state: _Rewrite, node: Node, scale: Tensor, shift: Tensor) -> bool:
    """Replace `node`, which computes x * scale + shift, by new weights of the node before or by a ScaleShift."""
    before = state.nodes.get(node.args[0])
    if before is None or not _takes_affine(state, before, node):
        names = [
            state.constant(f"{node.name}.{what}", data.to(torch.float32))
            for what, data in (("scale", scale), ("shift", shift))
        ]
        state.put(replace(node, op=ScaleShift(), args=(node.args[0], *names)))
        state.changed = True
        return True
    weight, *rest = (state.consts[arg].data for arg in before.args[1:])
    scaled = weight.to(torch.float64) * scale.reshape(-1, *[1] * (weight.dim() - 1))
    bias = (rest[0].to(torch.float64) * scale if rest else torch.zeros_like(shift)) + shift
    old_bias = before.args[2] if rest else None
    stem = before.args[1].removesuffix(".weight")
    names = [
        state.constant(before.args[1], scaled.to(torch.float32), before.args[1]),
        state.constant(f"{stem}.bias", bias.to(torch.float32), old_bias),
    ]
    state.put(replace(before, args=(before.args[0], *names)))
    state.forward(node, before.name)
    return True
