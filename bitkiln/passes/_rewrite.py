"""One round of local rewrites over a Graph: what the rules of the canonical form see and change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from bitkiln.ir import Const, Float, Graph, Input, Node, TensorType, prune_dead, verify
from bitkiln.ir.ops import Op


@dataclass
class Rewrite:
    """A new graph in the making; `renamed` maps values of the old one to what stands for them now."""

    graph: Graph
    types: dict[str, TensorType]
    consts: dict[str, Const]
    nodes: dict[str, Node] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    changed: bool = False

    def before(self, node: Node) -> Node | None:
        """The node that computes the first argument; None if that is an input or a constant."""
        return self.nodes.get(node.args[0])

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

    def keep(self, node: Node) -> None:
        """Take over a node as it is."""
        self.nodes[node.name], self.types[node.name] = node, node.type

    def replace(self, node: Node, op: Op, *args: str) -> bool:
        """Compute what `node` defines by another operation; returns True, as the rules do."""
        self.keep(replace(node, op=op, args=args))
        self.changed = True
        return True

    def forward(self, node: Node, value: str) -> bool:
        """Let `value` stand for what `node` defined; returns True, as the rules do."""
        self.renamed[node.name] = value
        self.changed = True
        return True


# Rewrites the node and returns True, or leaves everything as it is and returns False.
Rule = Callable[[Rewrite, Node], bool]


def rewrite(graph: Graph, rules: tuple[Rule, ...]) -> Graph:
    """Offer every node to the rules once, the first that fits wins; returns the same object if none fits anywhere."""
    leaves: tuple[Input | Const, ...] = (*graph.inputs, *graph.consts)
    state = Rewrite(graph, {value.name: value.type for value in leaves}, dict(graph.const))
    for old in graph.nodes:
        node = replace(old, args=tuple(state.renamed.get(arg, arg) for arg in old.args))
        if not any(rule(state, node) for rule in rules):
            state.keep(node)
    if not state.changed:
        return graph
    outputs = tuple(state.renamed.get(name, name) for name in graph.outputs)
    return verify(
        prune_dead(Graph(graph.name, graph.inputs, tuple(state.consts.values()), tuple(state.nodes.values()), outputs))
    )
