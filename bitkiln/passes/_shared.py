"""Weights behind tables: put into a graph, and plain again for passes that look at the weights themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bitkiln.ir import Const, Graph, Node, prune_dead, storage_dtype, verify
from bitkiln.ir.ops import SharedWeights


def unshare(graph: Graph) -> Graph:
    """Return the graph with each shared weight at its value, under the name that its indices (or its only table) had.

    The values still agree, so a container finds the codebook again as a dictionary.
    """
    values: dict[str, Const] = {}
    names: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, SharedWeights) and all(arg in graph.const for arg in node.args):
            args = (graph.const[arg].data.detach() for arg in node.args)
            name, data = node.args[0], node.op.evaluate(*args).to(storage_dtype(node.type.number))
            values[name], names[node.name] = Const(name, node.type, data), name
    if not values:
        return graph
    nodes = tuple(
        replace(node, args=tuple(names.get(arg, arg) for arg in node.args))
        for node in graph.nodes
        if node.name not in names
    )
    consts = tuple(values.get(const.name, const) for const in graph.consts)
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    return verify(prune_dead(replace(graph, consts=consts, nodes=nodes, outputs=outputs)))


def with_shared(graph: Graph, consts: Iterable[Const], decodes: Mapping[str, Node]) -> Graph:
    """Return the graph with constants replaced or added, and before the first use of each weight in `decodes` its node,
    which everything reads instead."""
    known = dict(graph.const)
    known.update((const.name, const) for const in consts)
    nodes: list[Node] = []
    done: set[str] = set()
    for node in graph.nodes:
        for arg in node.args:
            if arg in decodes and arg not in done:
                done.add(arg)
                nodes.append(replace(decodes[arg], loc=node.loc))
        nodes.append(replace(node, args=tuple(decodes[arg].name if arg in decodes else arg for arg in node.args)))
    return verify(replace(graph, consts=tuple(known.values()), nodes=tuple(nodes)))


@dataclass
class Names:
    """Gives new names that nothing has yet."""

    taken: set[str]

    def new(self, stem: str) -> str:
        name, number = stem, 2
        while name in self.taken:
            name, number = f"{stem}_{number}", number + 1
        self.taken.add(name)
        return name
