"""The quantised graph as hardware layers: what stays on the host, what is mere naming, what becomes which layer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bitkiln.ir import Graph, Int, Node, ToolError, code_ranges, fail
from bitkiln.ir.ops import (
    Add,
    ArgMax,
    Clip,
    Conv2d,
    Dequantise,
    Div,
    Linear,
    LogSoftmax,
    MaxPool2d,
    Mul,
    MultiThreshold,
    Quantise,
    QuantiseScaled,
    Relu,
    Requantise,
    Reshape,
    ScaleShift,
    Sigmoid,
    Softmax,
    SumPool2d,
)
from bitkiln.ir.units import Reduction, Rescale, Thresholds

from ._binary import bipolar_values
from ._comparison import MOST_THRESHOLDS, ThresholdLayer, node_thresholds, reordered, stream_channels
from ._layers import SIGN, AddLayer, ArgMaxLayer, Format, Geometry, Layer, Place, PoolLayer, RescaleLayer
from ._orders import Order, stream_orders
from ._products import Comparison, Requantisation, Surroundings, conv2d_layer, linear_layer, takes_in

UNIT_OPS = (Conv2d, Linear, MaxPool2d, SumPool2d, Add, Requantise, MultiThreshold, Relu, Reshape, ArgMax)
_QUANTISERS = (Quantise, QuantiseScaled, MultiThreshold)
_HOST_BEFORE = (*_QUANTISERS, Reshape, ScaleShift, Add, Mul, Div)
_HOST_AFTER = (Dequantise, Reshape, ScaleShift, Add, Mul, Div, Clip, Relu, Sigmoid, Softmax, LogSoftmax)
"""What the host computes in floats before the first codes and after the last."""


@dataclass(frozen=True, eq=False)
class Lowered:
    """Layers in topological order; `input` and `output` are the values at the border, orders as in `Plan`."""

    layers: tuple[Layer, ...]
    input: str
    input_format: Format
    output: str
    input_order: Order
    output_order: Order


def lower(graph: Graph) -> Lowered:
    """Return the layers of a quantised graph with one input and one output.

    Raises ToolError `unsupported-graph` or `no-unit`, which names the node and the reason.
    """
    first, last = _border(graph)
    lowering = _Lowering(graph, first)
    findings: list[ToolError] = []
    for node in lowering.hardware_nodes(last):
        try:
            lowering.add(node)
        except ToolError as error:
            findings.append(error)
            lowering.failed.add(node.name)
    if findings:
        raise ToolError(*(finding for error in findings for finding in error.diagnostics))
    if not lowering.layers:
        raise fail("unsupported-graph", f"{graph.name} computes nothing between its input and its output")
    orders = lowering.orders
    return Lowered(
        tuple(lowering.layers),
        first,
        lowering.formats[first],
        lowering.alias.get(last, last),
        orders[first],
        orders[last],
    )


def _border(graph: Graph) -> tuple[str, str]:
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
        if len(users) != 1 or not isinstance(users[0].op, _HOST_BEFORE):
            names = ", ".join(f"%{user.name} ({user.op.name})" for user in users)
            raise fail(
                "unsupported-graph",
                f"the float input %{first} must be quantised first of all, but its users are: {names or 'none'}",
                hint="quantise the graph before it is scheduled",
            )
        first = users[0].name
    last = graph.outputs[0]
    while graph.types[last].is_float:
        node = graph.node.get(last)
        if node is None:
            raise fail("unsupported-graph", f"the output %{last} is no result of the network")
        active = [arg for arg in node.args if arg not in graph.const]
        if not isinstance(node.op, _HOST_AFTER) or len(active) != 1:
            raise _no_unit(node, "it computes floats")
        last = active[0]
    return first, last


@dataclass
class _Lowering:
    graph: Graph
    first: str
    layers: list[Layer] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    taken_in: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    """Nodes without a unit; nothing is said of those behind them, unless they can have none either."""

    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.orders: Mapping[str, Order] = stream_orders(self.graph)
        self.ranges = code_ranges(self.graph)
        self.bipolar = bipolar_values(self.graph)
        self.formats[self.first] = self._output(self.graph.node.get(self.first), self.first)

    def hardware_nodes(self, last: str) -> list[Node]:
        """The nodes between the border values."""
        after = {self.first}
        nodes: list[Node] = []
        for node in self.graph.nodes:
            if after.intersection(node.args):
                after.add(node.name)
                nodes.append(node)
        host = {last}
        for node in nodes:
            if host.intersection(node.args) and isinstance(node.op, _HOST_AFTER) and node.type.is_float:
                host.add(node.name)
        return [node for node in nodes if node.name not in host or node.name == last]

    def add(self, node: Node) -> None:
        """Lower one node: a layer, another name for its argument, or part of an earlier layer."""
        if node.name in self.taken_in:
            return
        self._check_args(node)
        if self.failed.intersection(node.args):
            self.failed.add(node.name)
            return
        if self._is_alias(node):
            self.alias[node.name] = self._source(node.args[0])
            return
        layer = self._layer(node)
        self.layers.append(layer)
        self.formats[layer.place.node] = layer.place.output
        if layer.place.node != node.name:
            self.taken_in.add(layer.place.node)

    def _check_args(self, node: Node) -> None:
        if not isinstance(node.op, UNIT_OPS):
            raise _no_unit(node, "no unit computes it")
        if any(type_.is_float for type_ in (node.type, *self.graph.arg_types(node))):
            raise _no_unit(node, "it computes floats")
        streams = 2 if isinstance(node.op, Add) else 1
        for position, arg in enumerate(node.args):
            if (arg in self.graph.const) == (position < streams):
                what = "a constant" if position < streams else "no constant"
                raise _no_unit(node, f"its argument %{arg} is {what}")

    def _is_alias(self, node: Node) -> bool:
        match node.op:
            case Reshape() | MaxPool2d(kernel=(1, 1), stride=(1, 1)):
                return True
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
            case ArgMax():
                return self._argmax(node)
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
            self.orders[node.args[0]],
            self.orders[node.name],
            self._ending_of(user) if user else None,
        )
        place = self._place(node, user or node, Format.of(_int(self.graph, node.name)))
        to_layer = conv2d_layer if isinstance(node.op, Conv2d) else linear_layer
        return to_layer(self.graph, node, place, around)

    def _ending_of(self, user: Node) -> Requantisation | Comparison:
        if isinstance(user.op, Requantise):
            return Requantisation(user.op.shift, *user.op.limits, Format.of(user.op.number))
        return Comparison(self._thresholds(user), self._output(user, user.name))

    def _thresholds(self, node: Node) -> Thresholds:
        if node.args[1] not in self.graph.const:
            raise _no_unit(node, "its thresholds are no constants")
        thresholds = node_thresholds(self.graph, node)
        if thresholds.count > MOST_THRESHOLDS:
            hint = f"at most {MOST_THRESHOLDS}: use fewer bits for this activation"
            raise _no_unit(node, f"it has {thresholds.count} thresholds a channel", hint)
        return thresholds

    def _threshold(self, node: Node) -> Layer:
        channels = _channels(node)
        rows = stream_channels(node, self.orders[node.name], channels)
        if rows is None:
            raise _no_unit(node, "its channels are not those that follow each other in the stream")
        thresholds = reordered(self._thresholds(node), rows)
        place = self._place(node, node, self._output(node, node.name))
        return ThresholdLayer(place, channels, self._format(node), thresholds)

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
            raise _no_unit(node, "a window lies wholly in the padding")
        output = self._format(node)
        return PoolLayer(self._place(node, node, output), geometry, Reduction.MAX, output, None)

    def _add(self, node: Node, op: Add) -> Layer:
        shapes = [type_.shape for type_ in self.graph.arg_types(node)]
        if shapes[0] != shapes[1]:
            raise _no_unit(node, f"the shapes {list(shapes[0])} and {list(shapes[1])} differ")
        user, rescale, output = self._ending(node)
        inputs = (self._format(node, 0), self._format(node, 1))
        return AddLayer(self._place(node, user, output), _channels(node), inputs, op.shifts, rescale)

    def _argmax(self, node: Node) -> Layer:
        number = _int(self.graph, node.name)
        count = self.graph.types[node.args[0]].shape[1]
        return ArgMaxLayer(self._place(node, node, Format.of(number)), count, self._format(node))

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
        streams = 2 if isinstance(node.op, Add) else 1
        sources = tuple(self._source(arg) for arg in node.args[:streams])
        return Place(self._name(node), value.name, node.loc, sources, node.type.elements, output)

    def _name(self, node: Node) -> str:
        """A free stage name: the node's module path, else its own name."""
        base = re.sub(r"[^A-Za-z0-9_.-]", "_", node.loc.module or node.name)
        candidates = itertools.chain((base, f"{base}.{node.op.name}"), (f"{base}_{i}" for i in itertools.count(2)))
        name = next(name for name in candidates if name not in self.names)
        self.names.add(name)
        return name


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
        raise _no_unit(
            node,
            f"a requantise that stands alone has one shift, not {len(op.shift)} (one a channel)",
            "let the convolution or linear layer before it have no other user, or quantise its weights per tensor",
        )
    return Rescale(op.number.bits, op.number.signed, *op.limits, op.shift[0], op.multiplier)


def _no_unit(node: Node, reason: str, hint: str = "") -> ToolError:
    names = ", ".join(sorted(op.name for op in UNIT_OPS))
    return fail(
        "no-unit",
        f"no hardware unit takes %{node.name} ({node.op.name}): {reason}",
        node.loc,
        hint or f"operations with units: {names}",
    )
