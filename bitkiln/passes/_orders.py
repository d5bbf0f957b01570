"""In which order the elements of each value are streamed.

Feature maps travel row, column, channel (NHWC), the graph's flat layout is channel, row, column. Reshape, requantise
and functions of single elements leave elements where they are, so their values share one order; convolution and pooling
dictate it, a linear layer takes any (its weights are permuted), top-k counts and so needs the graph's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import Graph, Node, TensorType, fail
from bitkiln.ir.ops import (
    Concat,
    Conv2d,
    Dequantise,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Requantise,
    Reshape,
    SumPool2d,
    TopK,
)

from ._islands import FUNCTIONS, QUANTISERS

_IN_PLACE = (Reshape, Requantise, Dequantise, *QUANTISERS, *FUNCTIONS)

Order = NDArray[np.int64]
"""`order[i]` is the flat index, in the graph's layout without the batch axis, of the i-th element that is streamed."""


@dataclass(frozen=True, eq=False)
class StreamOrders:
    """`of` gives the order of every activation; `conversions` another one that a node's argument must have."""

    of: Mapping[str, Order]
    conversions: Mapping[tuple[str, int], Order]


@dataclass(frozen=True, eq=False)
class _Demand:
    """A node's result (position None) or argument that has a certain order."""

    node: Node
    position: int | None
    order: Order

    @property
    def value(self) -> str:
        return self.node.name if self.position is None else self.node.args[self.position]


def stream_orders(graph: Graph) -> StreamOrders:
    """Return the orders.

    What a unit gives comes first, then what thresholds a channel would like (they cannot reorder), then what the units
    after it take; where two users of a value differ, the second gets a conversion. Raises ToolError
    `unsupported-graph` where two results that are added (or multiplied) come in different orders.
    """
    root = _shared_roots(graph)
    chosen: dict[str, _Demand] = {}
    conversions: dict[tuple[str, int], Order] = {}
    for demand in sorted(_demands(graph), key=_rank):
        first = chosen.setdefault(root[demand.value], demand)
        if np.array_equal(first.order, demand.order) or isinstance(demand.node.op, MultiThreshold):
            continue
        if demand.position is None:
            raise fail(
                "unsupported-graph",
                f"%{demand.node.name} ({demand.node.op.name}) gives its elements in another order "
                f"than %{first.node.name} ({first.node.op.name}), and both are combined",
                demand.node.loc,
                "a linear layer between the two takes any order",
            )
        conversions[demand.node.name, demand.position] = demand.order
    orders: dict[str, Order] = {}
    for name in root:
        if root[name] not in orders:
            demand_or_none = chosen.get(root[name])
            orders[root[name]] = demand_or_none.order if demand_or_none else _free_order(graph, root, root[name])
        orders[name] = orders[root[name]]
    return StreamOrders(orders, conversions)


def channels_last(type_: TensorType) -> Order:
    """Return the NHWC order of a value of shape [1, C, H, W]."""
    index = np.arange(type_.elements, dtype=np.int64)
    return index.reshape(type_.shape[1:]).transpose(1, 2, 0).reshape(-1)


def _free_order(graph: Graph, root: Mapping[str, str], group: str) -> Order:
    """The order of values that no unit demands one of: as maps travel, if one of them is a map."""
    types = [graph.types[name] for name in root if root[name] == group]
    return _usual(next((type_ for type_ in types if len(type_.shape) == 4), types[0]))


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


def _rank(demand: _Demand) -> int:
    if demand.position is None:
        return 0
    return 1 if isinstance(demand.node.op, MultiThreshold) else 2


def _elements(graph: Graph, name: str) -> int:
    return graph.types[name].elements


def _demands(graph: Graph) -> Iterator[_Demand]:
    for node in graph.nodes:
        match node.op:
            case Conv2d() | MaxPool2d() | SumPool2d():
                ends: tuple[int | None, ...] = (None, 0)
            case Linear() if len(node.type.shape) > 2:
                ends = (None, 0)
            case TopK():
                ends = (None, 0)
            case MultiThreshold():
                ends = (0,)
            case Concat():
                ends = (None, *range(len(node.args)))
            case _:
                ends = ()
        for position in ends:
            type_ = node.type if position is None else graph.types[node.args[position]]
            is_map = not isinstance(node.op, Linear | TopK)
            yield _Demand(node, position, _usual(type_) if is_map else _identity(type_))
