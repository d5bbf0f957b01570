"""In which order the elements of each value are streamed.

Feature maps travel row, column, channel (NHWC), the graph's flat layout is channel, row, column. Reshape, requantise
and add leave elements where they are, so their values share one order; convolution and pooling dictate it, a linear
layer takes any (its weights are permuted), arg-max counts and so needs the graph's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Graph, Node, TensorType, fail
from bitkiln.ir.ops import (
    Add,
    ArgMax,
    Conv2d,
    Dequantise,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Quantise,
    QuantiseScaled,
    Relu,
    Requantise,
    Reshape,
    SumPool2d,
)

_IN_PLACE = (Reshape, Requantise, Relu, Add, Quantise, QuantiseScaled, Dequantise, MultiThreshold)

Order = NDArray[np.int64]
"""`order[i]` is the flat index, in the graph's layout without the batch axis, of the i-th element that is streamed."""


@dataclass(frozen=True, eq=False)
class _Demand:
    value: str
    order: Order
    node: Node


def stream_orders(graph: Graph) -> Mapping[str, Order]:
    """Return the order of every activation. Raises ToolError `unsupported-graph` where two users of a value need
    different orders, which no unit converts.
    """
    root = _shared_roots(graph)
    chosen: dict[str, _Demand] = {}
    for demand in _demands(graph):
        first = chosen.setdefault(root[demand.value], demand)
        if not np.array_equal(first.order, demand.order):
            raise fail(
                "unsupported-graph",
                f"%{demand.node.name} ({demand.node.op.name}) needs the elements of %{demand.value} in another order "
                f"than %{first.node.name} ({first.node.op.name}), and no unit reorders a stream",
                demand.node.loc,
                "a linear layer between the two takes any order",
            )
    orders: dict[str, Order] = {}
    for name in root:
        if root[name] not in orders:
            demand_or_none = chosen.get(root[name])
            orders[root[name]] = demand_or_none.order if demand_or_none else _usual(graph.types[root[name]])
        orders[name] = orders[root[name]]
    return orders


def channels_last(type_: TensorType) -> Order:
    """Return the NHWC order of a value of shape [1, C, H, W]."""
    index = np.arange(type_.elements, dtype=np.int64)
    return index.reshape(type_.shape[1:]).transpose(1, 2, 0).reshape(-1)


def _usual(type_: TensorType) -> Order:
    return channels_last(type_) if len(type_.shape) == 4 else _identity(type_)


def _identity(type_: TensorType) -> Order:
    return np.arange(type_.elements, dtype=np.int64)


def _shared_roots(graph: Graph) -> dict[str, str]:
    """For each activation, the earliest value that must have the same order."""
    alike = nx.Graph()
    alike.add_nodes_from(value.name for value in graph.inputs)
    for node in graph.nodes:
        alike.add_node(node.name)
        match node.op:
            case op if isinstance(op, _IN_PLACE):
                same = (arg for arg in node.args if arg in alike and _elements(graph, arg) == node.type.elements)
                alike.add_edges_from((arg, node.name) for arg in same)
            case _:
                pass
    place = {name: i for i, name in enumerate(alike)}
    firsts = ((group, min(group, key=place.__getitem__)) for group in nx.connected_components(alike))
    root = {name: first for group, first in firsts for name in group}
    return {name: root[name] for name in place}


def _elements(graph: Graph, name: str) -> int:
    return graph.types[name].elements


def _demands(graph: Graph) -> Iterator[_Demand]:
    for node in graph.nodes:
        match node.op:
            case Conv2d() | MaxPool2d() | SumPool2d():
                for value in (node.args[0], node.name):
                    yield _Demand(value, channels_last(graph.types[value]), node)
            case Linear() if len(node.type.shape) > 2:
                for value in (node.args[0], node.name):
                    yield _Demand(value, _identity(graph.types[value]), node)
            case ArgMax():
                yield _Demand(node.args[0], _identity(graph.types[node.args[0]]), node)
            case _:
                pass
