"""Shared weights as plain ones, for passes that look at the weights themselves."""

from __future__ import annotations

from dataclasses import replace

from bitkiln.ir import Const, Graph, prune_dead, storage_dtype, verify
from bitkiln.ir.ops import Decode


def unshare(graph: Graph) -> Graph:
    """Return the graph with each shared weight at its value, under the name that its indices had.

    The values still agree, so a container finds the codebook again as a dictionary.
    """
    values: dict[str, Const] = {}
    names: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, Decode) and all(arg in graph.const for arg in node.args):
            indices, table = (graph.const[arg].data.detach() for arg in node.args)
            name, data = node.args[0], node.op.evaluate(indices, table).to(storage_dtype(node.type.number))
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
