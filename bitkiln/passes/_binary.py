"""Which values travel as one bit an element: codes of -1 and 1 only, wherever every user can take them so."""

from __future__ import annotations

import networkx as nx

from bitkiln.ir import Graph, Node
from bitkiln.ir.ops import Conv2d, Dequantise, Linear, MaxPool2d, MultiThreshold, Reshape


def bipolar_values(graph: Graph) -> frozenset[str]:
    """Return the values that are signs: thresholds give them, reshapes and max pools pass them on."""
    alike = nx.Graph()
    for node in graph.nodes:
        if _gives_signs(node, graph):
            alike.add_node(node.name)
        elif isinstance(node.op, Reshape | MaxPool2d) and node.args[0] in alike:
            alike.add_edge(node.args[0], node.name)
    return frozenset(
        name
        for group in nx.connected_components(alike)
        if all(_all_take(graph, name) for name in group)
        for name in group
    )


def _gives_signs(node: Node, graph: Graph) -> bool:
    if not isinstance(node.op, MultiThreshold) or graph.types[node.args[1]].shape[1] != 1:
        return False
    channels = max(len(node.op.base), len(node.op.step))
    pairs = zip((node.op.base * channels)[:channels], (node.op.step * channels)[:channels], strict=True)
    return {tuple(sorted((base, base + step))) for base, step in pairs} == {(-1, 1)}


def _all_take(graph: Graph, name: str) -> bool:
    """True if every user counts signs, passes them on, or leads out of the hardware."""
    return all(
        isinstance(user.op, Reshape | MaxPool2d | Dequantise)
        or (isinstance(user.op, Linear | Conv2d) and user.args[0] == name)
        for user in graph.users[name]
    )
