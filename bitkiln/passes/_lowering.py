"""The quantised graph as hardware layers: what stays on the host, what is mere naming, what becomes which layer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bitkiln.ir import Graph, Int, Node, ToolError, code_ranges, fail
from bitkiln.ir.ops import (
    Add,
    Concat,
    Conv2d,
    Dequantise,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Relu,
    Requantise,
    Reshape,
    SumPool2d,
    TopK,
)
from bitkiln.ir.units import Reduction, Rescale, Thresholds, TopKStream

from ._binary import bipolar_values
from ._border import UNIT_OPS, find_border, hardware_nodes, no_unit
from ._comparison import few_thresholds, node_thresholds, reordered, stream_channels, threshold_layer
from ._islands import (
    MOST_PRODUCT_BITS,
    QUANTISERS,
    Island,
    LookupLayer,
    MultiplyLayer,
    find_island,
    product_rescale,
)
from ._layers import SIGN, AddLayer, Format, Geometry, Layer, Place, PoolLayer, RescaleLayer, TopKLayer
from ._moving import (
    MOVES,
    ConcatLayer,
    GatherLayer,
    Places,
    broadcast_places,
    concat_parts,
    moved_places,
    stream_places,
)
from ._orders import Order, stream_orders
from ._products import Comparison, Requantisation, Surroundings, conv2d_layer, linear_layer, takes_in


@dataclass(frozen=True, eq=False)
class Lowered:
    """Layers in topological order; `input` and `output` are the values at the border, orders as in `Plan`.

    `reordered` has the graph's value for each value that the lowering added: the same elements in another order.
    """

    layers: tuple[Layer, ...]
    input: str
    input_format: Format
    output: str
    input_order: Order
    output_order: Order
    reordered: Mapping[str, str]


def lower(graph: Graph, is_renewable: bool = False) -> Lowered:
    """Return the layers of a quantised graph with one input and one output; `is_renewable` as in `PlanOptions`.

    Raises ToolError `unsupported-graph` or `no-unit`, which names the node and the reason.
    """
    first, last = find_border(graph)
    lowering, nodes = _Lowering(graph, first, is_renewable), hardware_nodes(graph, first, last)
    findings: list[ToolError] = []
    for node in nodes:
        try:
            lowering.add(node)
        except ToolError as error:
            findings.append(error)
            lowering.failed.add(node.name)
    findings += [no_unit(node, "it computes floats") for node in nodes if lowering.is_left_over(node)]
    if findings:
        raise ToolError(*(finding for error in findings for finding in error.diagnostics))
    if not lowering.layers:
        raise fail("unsupported-graph", f"{graph.name} computes nothing between its input and its output")
    orders = lowering.orders.of
    return Lowered(
        tuple(lowering.layers),
        first,
        lowering.formats[first],
        lowering.alias.get(last, last),
        orders[first],
        orders[last],
        lowering.reordered,
    )


@dataclass
class _Lowering:
    graph: Graph
    first: str
    is_renewable: bool
    layers: list[Layer] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    taken_in: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    """Nodes without a unit; nothing is said of those behind them, unless they can have none either."""

    names: set[str] = field(default_factory=set)
    reordered: dict[str, str] = field(default_factory=dict)
    on_islands: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.orders = stream_orders(self.graph)
        self.ranges = code_ranges(self.graph)
        self.bipolar = bipolar_values(self.graph)
        self.formats[self.first] = self._output(self.graph.node.get(self.first), self.first)

    def add(self, node: Node) -> None:
        """Lower one node: a layer, another name for its argument, or part of an earlier layer."""
        if node.name in self.taken_in or node.type.is_float:
            return
        island = self._island_before(node)
        self._check_args(node, island)
        if self.failed.intersection(island.sources if island else node.args):
            self.failed.add(node.name)
            return
        if self._is_alias(node):
            self.alias[node.name] = self._source(node.args[0])
            return
        layer = self._function(island) if island else self._layer(node)
        self.layers.append(layer)
        self.formats[layer.place.node] = layer.place.output
        if layer.place.node != node.name:
            self.taken_in.add(layer.place.node)

    def is_left_over(self, node: Node) -> bool:
        """True for floats that lead to no quantiser."""
        is_computed = node.type.is_float and not isinstance(node.op, Dequantise)
        return is_computed and node.name not in self.on_islands

    def _island_before(self, node: Node) -> Island | None:
        """What stands between codes and a quantiser of floats."""
        if not isinstance(node.op, QUANTISERS) or not self.graph.types[node.args[0]].is_float:
            return None
        island = find_island(self.graph, node)
        self.on_islands.update(member.name for member in island.nodes)
        return island

    def _check_args(self, node: Node, island: Island | None) -> None:
        if island:
            if island.stranger:
                raise no_unit(island.stranger, "it computes floats")
            return
        if not isinstance(node.op, UNIT_OPS):
            raise no_unit(node, "no unit computes it")
        if any(type_.is_float for type_ in self.graph.arg_types(node)):
            raise no_unit(node, "it computes floats")
        for position, arg in enumerate(node.args):
            if (arg in self.graph.const) == (position < _streams(node)):
                what = "a constant" if position < _streams(node) else "no constant"
                raise no_unit(node, f"its argument %{arg} is {what}")

    def _is_alias(self, node: Node) -> bool:
        match node.op:
            case Reshape() | MaxPool2d(kernel=(1, 1), stride=(1, 1)):
                return True
            case op if isinstance(op, MOVES):
                places = self._move_places(node)
                return np.array_equal(places, np.arange(self.graph.types[node.args[0]].elements))
            case _:
                return False

    def _source(self, name: str) -> str:
        return self.alias.get(name, name)

    def _format(self, node: Node, position: int = 0) -> Format:
        return self.formats[self._source(node.args[position])]

    def _layer(self, node: Node) -> Layer:
        match node.op:
            case Conv2d() | Linear():
                return self._product(node)
            case MaxPool2d() | SumPool2d():
                return self._pool(node, node.op)
            case Add():
                return self._add(node, node.op)
            case TopK():
                return self._top_k(node, node.op)
            case Concat():
                return self._concat(node)
            case op if isinstance(op, MOVES):
                elements = self.graph.types[node.args[0]].elements
                place = self._place(node, node, self._format(node))
                return GatherLayer(place, place.output, elements, self._move_places(node))
            case Requantise():
                return self._rescale(node, _rescale_of(node))
            case MultiThreshold():
                return self._threshold(node)
            case Relu():
                number = _int(self.graph, node.name)
                return self._rescale(node, Rescale(number.bits, number.signed, 0, number.hi, 0))
            case _:
                raise AssertionError(node.op)

    def _product(self, node: Node) -> Layer:
        user = self._ending_after(node)
        if user is not None and not takes_in(node, user):
            user = None
        around = Surroundings(
            self._format(node),
            self.ranges[node.args[0]],
            self.orders.of[node.args[0]],
            self.orders.of[node.name],
            self._ending_of(user) if user else None,
            self.is_renewable,
        )
        place = self._place(node, user or node, Format.of(_int(self.graph, node.name)))
        to_layer = conv2d_layer if isinstance(node.op, Conv2d) else linear_layer
        return to_layer(self.graph, node, place, around)

    def _ending_of(self, user: Node) -> Requantisation | Comparison:
        if isinstance(user.op, Requantise):
            return Requantisation(user.op.shift, *user.op.limits, Format.of(user.op.number))
        return Comparison(few_thresholds(user, self._thresholds(user)), self._output(user, user.name))

    def _thresholds(self, node: Node) -> Thresholds:
        if node.args[1] not in self.graph.const:
            raise no_unit(node, "its thresholds are no constants")
        return node_thresholds(self.graph, node)

    def _threshold(self, node: Node) -> Layer:
        channels = _channels(node)
        rows = stream_channels(node, self.orders.of[node.name], channels)
        if rows is None:
            raise no_unit(node, "its channels are not those that follow each other in the stream")
        thresholds = reordered(self._thresholds(node), rows)
        place = self._place(node, node, self._output(node, node.name))
        return threshold_layer(node, place, channels, self._format(node), thresholds)

    def _output(self, node: Node | None, name: str) -> Format:
        """How a value travels that is given by a threshold node, or comes in."""
        is_sign = node is not None and name in self.bipolar
        return SIGN if is_sign else Format.of(_int(self.graph, name))

    def _pool(self, node: Node, op: MaxPool2d | SumPool2d) -> Layer:
        source, result = self.graph.types[node.args[0]].shape, node.type.shape
        geometry = Geometry(
            size=(source[2], source[3]),
            channels=source[1],
            kernel=op.kernel,
            stride=op.stride,
            padding=op.padding,
            dilation=op.dilation if isinstance(op, MaxPool2d) else (1, 1),
            output_size=(result[2], result[3]),
        )
        if isinstance(op, SumPool2d):
            user, rescale, output = self._ending(node)
            return PoolLayer(self._place(node, user, output), geometry, Reduction.SUM, self._format(node), rescale)
        if geometry.has_empty_window:
            raise no_unit(node, "a window lies wholly in the padding")
        output = self._format(node)
        return PoolLayer(self._place(node, node, output), geometry, Reduction.MAX, output, None)

    def _add(self, node: Node, op: Add) -> Layer:
        user, rescale, output = self._ending(node)
        inputs = (self._format(node, 0), self._format(node, 1))
        return AddLayer(self._place(node, user, output), _channels(node), inputs, op.shifts, rescale)

    def _top_k(self, node: Node, op: TopK) -> Layer:
        if op.k > TopKStream.MOST:
            raise no_unit(node, f"hardware keeps at most the {TopKStream.MOST} largest, not {op.k}")
        output, element = Format.of(_int(self.graph, node.name)), self._format(node)
        count = self.graph.types[node.args[0]].shape[1]
        unit = TopKStream(count, element.bits, element.signed, output.bits, op.k)
        return TopKLayer(self._place(node, node, output), unit)

    def _rescale(self, node: Node, rescale: Rescale) -> Layer:
        place = self._place(node, node, Format(rescale.bits, rescale.signed))
        return RescaleLayer(place, _channels(node), self._format(node), rescale)

    def _ending(self, node: Node) -> tuple[Node, Rescale | None, Format]:
        """The node whose value a sum gives, with its requantisation if one follows that a unit takes in."""
        user = self._ending_after(node)
        if user is not None and isinstance(user.op, Requantise):
            return user, _rescale_of(user), Format.of(_int(self.graph, user.name))
        return node, None, Format.of(_int(self.graph, node.name))

    def _ending_after(self, node: Node) -> Node | None:
        """The requantise or threshold node that is the only user of `node`."""
        users = self.graph.users[node.name]
        is_only = len(users) == 1 and node.name not in self.graph.outputs
        return users[0] if is_only and isinstance(users[0].op, Requantise | MultiThreshold) else None

    def _place(self, node: Node, value: Node, output: Format) -> Place:
        name = self._name(node)
        sources = tuple(self._taken(node, position, name) for position in range(_streams(node)))
        return Place(name, value.name, node.loc, sources, node.type.elements, output)

    def _taken(self, node: Node, position: int, stage: str) -> str:
        """The value that a node takes: its argument, or that in another order or copied to the node's shape."""
        arg = node.args[position]
        shape, order = self.graph.types[arg].shape, self.orders.of[arg]
        if isinstance(node.op, Add) and shape != node.type.shape:
            places = broadcast_places(shape, node.type.shape, order, self.orders.of[node.name])
        elif (node.name, position) in self.orders.conversions:
            wanted = self.orders.conversions[node.name, position]
            places = stream_places(np.arange(len(order)), order, wanted)
        else:
            return self._source(arg)
        return self._reordered(arg, node, stage, places)

    def _reordered(self, arg: str, node: Node, stage: str, places: Places) -> str:
        """Add a layer that brings the elements of `arg` to these places, for `node`; return the value's name."""
        value, element = f"{arg}.{len(self.layers)}.for.{node.name}", self.formats[self._source(arg)]
        place = Place(f"{stage}.reorder", value, node.loc, (self._source(arg),), len(places), element)
        self.layers.append(GatherLayer(place, element, self.graph.types[arg].elements, places))
        self.formats[value], self.reordered[value] = element, arg
        return value

    def _move_places(self, node: Node) -> Places:
        arg = node.args[0]
        return moved_places(node, self.orders.of[arg], self.orders.of[node.name], self.graph.types[arg].shape)

    def _concat(self, node: Node) -> Layer:
        parts, rounds = concat_parts(self.graph, node)
        place = self._place(node, node, self._format(node))
        return ConcatLayer(place, place.output, parts, rounds)

    def _function(self, island: Island) -> Layer:
        """A table, or the product of two values."""
        node = island.quantiser
        output, name = self._output(node, node.name), self._name(node)
        if island.is_product:
            rescale = product_rescale(self.graph, island)
            if rescale is None:
                raise no_unit(node, f"a product has at most {MOST_PRODUCT_BITS} bits")
            mul = island.nodes[-1]
            sources = tuple(self._factor(mul, source, name) for source in island.sources)
            place = Place(name, node.name, node.loc, sources, node.type.elements, output)
            formats = (self.formats[sources[0]], self.formats[sources[1]])
            return MultiplyLayer(place, _channels(node), formats, rescale)
        obstacle = island.obstacle(self.graph)
        if obstacle:
            raise no_unit(node, obstacle, "quantise between the functions, or use fewer bits")
        source = self._source(island.sources[0])
        place = Place(name, node.name, node.loc, (source,), node.type.elements, output)
        table = island.table(self.graph, self.formats[source].beat(1))
        return LookupLayer(place, _channels(node), self.formats[source], table)

    def _factor(self, mul: Node, source: str, stage: str) -> str:
        shape = self.graph.types[source].shape
        if shape == mul.type.shape:
            return self._source(source)
        orders = (self.orders.of[source], self.orders.of[mul.name])
        return self._reordered(source, mul, stage, broadcast_places(shape, mul.type.shape, *orders))

    def _name(self, node: Node) -> str:
        """A free stage name: the node's module path, else its own name."""
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", node.loc.module or node.name)
        candidates = itertools.chain((base, f"{base}.{node.op.name}"), (f"{base}_{i}" for i in itertools.count(2)))
        name = next(name for name in candidates if name not in self.names)
        self.names.add(name)
        return name


def _streams(node: Node) -> int:
    """How many of the node's arguments are streams; the others are constants."""
    return len(node.args) if isinstance(node.op, Add | Concat) else 1


def _channels(node: Node) -> int:
    """The run of elements that a beat may not cross: the innermost axis of the stream."""
    shape = node.type.shape
    return shape[1] if len(shape) == 4 else shape[-1]


def _int(graph: Graph, name: str) -> Int:
    number = graph.types[name].number
    if not isinstance(number, Int):
        raise fail("unsupported-graph", f"hardware computes fixed point, but %{name} is {graph.types[name]}")
    return number


def _rescale_of(node: Node) -> Rescale:
    assert isinstance(node.op, Requantise)
    op = node.op
    if len(set(op.shift)) > 1:
        raise no_unit(
            node,
            f"a requantise that stands alone has one shift, not {len(op.shift)} (one a channel)",
            "let the convolution or linear layer before it have no other user, or quantise its weights per tensor",
        )
    return Rescale(op.number.bits, op.number.signed, *op.limits, op.shift[0], op.multiplier)
