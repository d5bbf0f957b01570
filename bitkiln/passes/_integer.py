"""The integer form of a float graph whose formats are chosen: which nodes on codes stand for each float node.

Each exact result is followed by exactly one requantisation, which takes the activation behind it along; hardware
generation relies on this form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bitkiln.ir import Builder, Const, Graph, Int, Node
from bitkiln.ir.ops import (
    Add,
    AvgPool2d,
    Clip,
    Concat,
    Conv2d,
    Dequantise,
    Linear,
    Quantise,
    Relu,
    Requantise,
    SumPool2d,
    TopK,
)

from ._activations import MOVES, saturated, upper_code
from ._codes import exact_const, int_const, rounded, to_codes
from ._functions import host_tail, is_function, is_product
from ._reciprocal import reciprocal

MAX_ALIGNMENT_BITS = 16
"""Operands of an addition whose points lie further apart are requantised first; that rounds far below a step."""


@dataclass
class IntegerForm:
    """Builds the integer graph node by node.

    `fused` gives the activation that each accumulating node takes along, `formats` the format of the input and of each
    value that is requantised (under the activation's name, if one is taken along). `weight_format` chooses the format
    of a layer's weights for the format of its input.
    """

    graph: Graph
    fused: Mapping[str, Node]
    formats: Mapping[str, Int]
    weight_format: Callable[[Node, Int], Int]
    build: Builder = field(init=False)
    values: dict[str, str] = field(default_factory=dict)
    """Name of the codes that stand for each float value."""

    floats: dict[str, str] = field(default_factory=dict)
    """Name of the floats, if there are any."""

    constants: dict[tuple[str, Int], str] = field(default_factory=dict)
    """Name of each float constant's codes: one constant a format, however many layers share it."""

    def run(self) -> Graph:
        """Return the verified integer graph."""
        self.build = Builder(self.graph.name)
        for value in self.graph.inputs:
            x = self.build.input(value.name, value.type)
            self.values[x] = self.build.add(Quantise(self.formats[x]), (x,), f"{x}_quantise")
        taken = {node.name for node in self.fused.values()}
        tail = host_tail(self.graph)
        for node in self.graph.nodes:
            if node.name in tail:
                self.floats[node.name] = self._on_floats(node)
            elif node.name not in taken:
                self._node(node)
        return self.build.graph([self._output(name) for name in self.graph.outputs])

    def _node(self, node: Node) -> None:
        match node.op:
            case Linear() | Conv2d():
                self._product(node)
            case _ if is_function(self.graph, node) or is_product(self.graph, node):
                result = self._on_floats(node)
                quantise = Quantise(self.formats[node.name])
                self.values[node.name] = self.build.add(quantise, (result,), f"{node.name}_quantise", node.loc)
            case Add():
                self._sum(node)
            case AvgPool2d():
                self._mean(node, node.op)
            case Concat():
                number = self.formats[node.name]
                parts = tuple(self._at(self.values[arg], number, node) for arg in node.args)
                self.values[node.name] = self.build.add(node.op, parts, node.name, node.loc)
            case Relu() | Clip():
                self._saturate(node)
            case op if isinstance(op, (*MOVES, TopK)):
                x = self.values[node.args[0]]
                self.values[node.name] = self.build.add(node.op, (x,), node.name, node.loc)
            case _:
                raise AssertionError(f"{node.op.name} has no integer form")

    def _product(self, node: Node) -> None:
        source = self.values[node.args[0]]
        x = self._number(source)
        number = self.weight_format(node, x)
        weight = self.graph.const[node.args[1]]
        codes = self._constant(int_const(weight.name, to_codes(weight.data, number), number), node)
        args: tuple[str, ...] = (source, codes)
        if len(node.args) > 2:
            points = tuple(frac + x.fracs[0] for frac in number.fracs)
            wide = Int(1, True, points if number.axis is not None else points[0], number.axis)
            bias = self.graph.const[node.args[2]]
            args = (*args, self._constant(exact_const(bias.name, rounded(bias.data, wide), wide), node))
        self._finish(node, self.build.add(node.op, args, node.name, node.loc))

    def _sum(self, node: Node) -> None:
        operands = [(self.values[arg], self._number(self.values[arg])) for arg in node.args]
        finest = min(number.fracs[0] for _, number in operands) + MAX_ALIGNMENT_BITS
        near = [replace(number, frac=min(number.fracs[0], finest)) for _, number in operands]
        x, y = (self._at(value, number, node) for (value, _), number in zip(operands, near, strict=True))
        points = [number.fracs[0] for number in near]
        shifts = (max(points) - points[0], max(points) - points[1])
        self._finish(node, self.build.add(Add(shifts), (x, y), node.name, node.loc))

    def _mean(self, node: Node, op: AvgPool2d) -> None:
        window = SumPool2d(op.kernel, op.stride, op.padding, op.ceil_mode)
        total = self.build.add(window, (self.values[node.args[0]],), node.name, node.loc)
        number, result = self._number(total), self.formats[self._last(node).name]
        gain = result.fracs[0] - number.fracs[0]
        divisor = op.divisor or math.prod(op.kernel)
        self._finish(node, total, *reciprocal(divisor, gain, max(-number.lo, number.hi)))

    def _on_floats(self, node: Node) -> str:
        """The node as it is, on values and constants in floats."""
        args = tuple(self._float_const(arg) if arg in self.graph.const else self._float(arg) for arg in node.args)
        return self.build.add(node.op, args, node.name, node.loc)

    def _float(self, name: str) -> str:
        if name not in self.floats:
            value = self.values[name]
            dequantise = Dequantise(self._number(value).fracs)
            self.floats[name] = self.build.add(dequantise, (value,), f"{name}_dequantise")
        return self.floats[name]

    def _float_const(self, name: str) -> str:
        if name not in self.build.types:
            const = self.graph.const[name]
            self.build.constant(name, const.type, const.data)
        return name

    def _finish(self, node: Node, exact: str, multiplier: int = 1, multiplier_frac: int = 0) -> None:
        """Requantise the exact result of `node`, together with the activation that it takes along."""
        last = self._last(node)
        number = self.formats[last.name]
        shift = tuple(frac + multiplier_frac - number.fracs[0] for frac in self._number(exact).fracs)
        op = Requantise(number, shift, multiplier, multiplier_frac, upper_code(number, last.op))
        name = last.name if last.name != node.name else f"{node.name}_requantise"
        self.values[last.name] = self.build.add(op, (exact,), name, last.loc)

    def _saturate(self, node: Node) -> None:
        x = self.values[node.args[0]]
        number = saturated(self._number(x), node.op)
        hi = upper_code(number, node.op)
        if number != self._number(x) or hi is not None:
            x = self.build.add(Requantise(number, (0,), hi=hi), (x,), node.name, node.loc)
        self.values[node.name] = x

    def _at(self, value: str, number: Int, node: Node) -> str:
        """`value` in another format, for `node`."""
        x = self._number(value)
        if x == number:
            return value
        op = Requantise(number, (x.fracs[0] - number.fracs[0],))
        return self.build.add(op, (value,), f"{value}_for_{node.name}", node.loc)

    def _constant(self, const: Const, node: Node) -> str:
        assert isinstance(const.type.number, Int)
        key = (const.name, const.type.number)
        if key not in self.constants:
            is_first = all(name != const.name for name, _ in self.constants)
            name = const.name if is_first else f"{const.name}.{node.name}"
            self.constants[key] = self.build.constant(name, const.type, const.data)
        return self.constants[key]

    def _output(self, name: str) -> str:
        node = self.graph.node.get(name)
        return self.values[name] if node and isinstance(node.op, TopK) else self._float(name)

    def _last(self, node: Node) -> Node:
        return self.fused.get(node.name, node)

    def _number(self, value: str) -> Int:
        number = self.build.types[value].number
        assert isinstance(number, Int)
        return number
