"""Where hardware begins and ends in a graph, and what the user is told of a node that has no unit."""

from __future__ import annotations

from bitkiln.ir import Graph, Node, ToolError, fail
from bitkiln.ir.ops import (
    Add,
    Concat,
    Conv2d,
    Div,
    Linear,
    MaxPool2d,
    Mul,
    MultiThreshold,
    Relu,
    Requantise,
    Reshape,
    ScaleShift,
    SumPool2d,
    TopK,
)

from ._functions import HOST_AFTER
from ._islands import QUANTISERS
from ._moving import MOVES

UNIT_OPS = (
    *(Conv2d, Linear, MaxPool2d, SumPool2d, Add, Requantise, MultiThreshold, Relu, Reshape, TopK, Concat),
    *MOVES,
)
HOST_BEFORE = (*QUANTISERS, Reshape, ScaleShift, Add, Mul, Div)
"""What the host computes in floats before the first codes."""


def find_border(graph: Graph) -> tuple[str, str]:
    """The first and the last value of codes; floats that lead straight to the one and from the other are the host's."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise fail(
            "unsupported-graph",
            f"{graph.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "hardware has one stream in and one out",
        )
    first = graph.inputs[0].name
    while graph.types[first].is_float:
        users = graph.users[first]
        if len(users) != 1 or not isinstance(users[0].op, HOST_BEFORE):
            names = ", ".join(f"%{user.name} ({user.op.name})" for user in users)
            raise fail(
                "unsupported-graph",
                f"the float input %{first} must be quantised first of all, but its users are: {names or 'none'}",
                hint="pass quantise, or input_bits of fake_quantise, or input_threshold of binarise",
            )
        first = users[0].name
    last = graph.outputs[0]
    while graph.types[last].is_float:
        node = graph.node.get(last)
        if node is None:
            raise fail("unsupported-graph", f"the output %{last} is no result of the network")
        active = [arg for arg in node.args if arg not in graph.const]
        if not isinstance(node.op, HOST_AFTER) or len(active) != 1:
            raise no_unit(node, "it computes floats")
        last = active[0]
    return first, last


def hardware_nodes(graph: Graph, first: str, last: str) -> list[Node]:
    """The nodes between the border values."""
    after = {first}
    nodes: list[Node] = []
    for node in graph.nodes:
        if after.intersection(node.args):
            after.add(node.name)
            nodes.append(node)
    host = {last}
    for node in nodes:
        if host.intersection(node.args) and isinstance(node.op, HOST_AFTER) and node.type.is_float:
            host.add(node.name)
    return [node for node in nodes if node.name not in host or node.name == last]


def no_unit(node: Node, reason: str, hint: str = "") -> ToolError:
    """The error for a node that no unit can take."""
    names = ", ".join(sorted({op.name for op in UNIT_OPS}))
    return fail(
        "no-unit",
        f"no hardware unit takes %{node.name} ({node.op.name}): {reason}",
        node.loc,
        hint or f"operations with units: {names}",
    )
