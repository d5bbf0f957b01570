"""Which channels, neurons and features of a graph can only be cut together: derived from its edges.

Each product begins new units, one an output channel. Every other operation carries their numbers on, index by index:
a concatenation appends, a flattening repeats, a residual addition declares equal. What an operation needs whole is
pinned, and so are the graph's inputs and outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from bitkiln.ir import Graph, Node
from bitkiln.ir.ops import (
    Add,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Decode,
    Dequantise,
    Div,
    GroupNorm,
    Linear,
    Mul,
    MultiThreshold,
    Quantise,
    QuantiseScaled,
    Relu,
    Requantise,
    ScaleShift,
)
from bitkiln.ir.ops.activation import Pointwise

from ._channel_moves import MOVES, Axis, Value, moved
from ._units import PINNED, Labels, Units


class Role(Enum):
    """What a constant's slices do for their unit."""

    MAKES = "makes"  # rows of a weight: the unit's value is computed from them
    READS = "reads"  # columns of a weight: they take the unit's value up
    PASSES = "passes"  # kernels of a depthwise convolution
    FOLLOWS = "follows"  # bias, batch norm, constants that are added or multiplied


@dataclass(frozen=True, eq=False)
class Slot:
    """Along `axis` of a constant that `node` reads, index i belongs to the unit `labels[i]`."""

    node: Node
    const: str
    axis: int
    role: Role
    labels: Labels


@dataclass(eq=False)
class Channels:
    """What can be cut of a graph: for each activation an axis with units, and where units sit in the constants.

    `mixed` has the units whose values meet another operand that is none of them (a map times a channel).
    """

    graph: Graph
    units: Units = field(default_factory=Units)
    values: dict[str, Axis | None] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    mixed: list[Labels] = field(default_factory=list)

    @classmethod
    def of(cls, graph: Graph) -> Channels:
        """Follow every edge of a verified graph."""
        channels = cls(graph)
        active = {value.name for value in graph.inputs}
        channels.values = dict.fromkeys(active)
        for node in graph.nodes:
            if not active.isdisjoint(node.args):
                active.add(node.name)
                channels.values[node.name] = channels._after(node)
        for name in graph.outputs:
            if name in channels.values:
                channels._pin(name)
        channels._pin_other_uses()
        return channels

    def labels(self, axis: Axis | None) -> Labels:
        """The units along an axis as they are now; empty without one."""
        return np.zeros(0, np.int64) if axis is None else self.units.find(axis.labels)

    def constant(self, name: str) -> str | None:
        """The constant that `name` is, or whose indices it decodes; None if it is computed in another way."""
        node = self.graph.node.get(name)
        if node is not None and isinstance(node.op, Decode):
            name = node.args[0]
        return name if name in self.graph.const else None

    def _after(self, node: Node) -> Axis | None:
        """The axis with units of what a node gives."""
        match node.op:
            case Linear():
                return self._linear(node)
            case Conv2d(groups=groups):
                return self._convolution(node, groups, 0, 1)
            case ConvTranspose2d(groups=groups):
                return self._convolution(node, groups, 1, 0)
            case BatchNorm() | ScaleShift():
                return self._per_channel(node, 1)
            case GroupNorm(groups=groups) if groups == node.type.shape[1]:
                return self._per_channel(node, 1)
            case MultiThreshold(axis=axis):
                return self._per_channel(node, axis)
            case _:
                return self._after_elements(node)

    def _after_elements(self, node: Node) -> Axis | None:
        """The same for operations that compute or move element by element, and for all others."""
        match node.op:
            case Requantise() | Dequantise() | QuantiseScaled():
                axis_ = self.values[node.args[0]]
                return axis_ if axis_ is None or axis_.axis == 1 else self._pinned(node)
            case Relu() | Clip() | Pointwise() | Quantise():
                return self.values[node.args[0]]
            case Add() | Mul() | Div():
                return self._joined(node)
            case Concat(axis=axis):
                return self._concatenated(node, axis)
            case op if isinstance(op, MOVES):
                return self._moved(node)
            case _:
                return self._pinned(node)

    def _along(self, name: str, axis: int) -> Labels:
        """The units along `axis`; a value that is cut along another one is pinned."""
        found = self.values.get(name)
        if found is not None and found.axis == axis:
            return found.labels
        self._pin(name)
        return np.full(self.graph.types[name].shape[axis], PINNED)

    def _pin(self, name: str) -> None:
        axis = self.values.get(name)
        if axis is not None:
            self.units.pin(axis.labels)

    def _pinned(self, node: Node) -> Axis | None:
        """What a node needs whole stays; its result has no units."""
        for arg in node.args:
            self._pin(arg)
        return None

    def _slot(self, node: Node, name: str, axis: int, role: Role, labels: Labels) -> None:
        const = self.constant(name)
        if const is None:
            self.units.pin(labels)
        else:
            self.slots.append(Slot(node, const, axis, role, labels))

    def _biases(self, node: Node, labels: Labels, first: int = 2) -> None:
        for name in node.args[first:]:
            self._slot(node, name, 0, Role.FOLLOWS, labels)

    def _linear(self, node: Node) -> Axis:
        last = len(node.type.shape) - 1
        made = self.units.fresh(node.type.shape[last])
        self._slot(node, node.args[1], 1, Role.READS, self._along(node.args[0], last))
        self._slot(node, node.args[1], 0, Role.MAKES, made)
        self._biases(node, made)
        return Axis(last, made)

    def _convolution(self, node: Node, groups: int, rows: int, columns: int) -> Axis:
        """`rows` is the weight's axis of filters and `columns` that of channels; groups divide what comes first."""
        read, weight, filters = self._along(node.args[0], 1), node.args[1], node.type.shape[1]
        if groups == len(read) and groups > 1:
            made = np.repeat(read, filters // groups)
            self._slot(node, weight, 0, Role.PASSES, made if rows == 0 else read)
        else:
            by_group = read.reshape(groups, -1)
            self.units.join(by_group, by_group[:1])
            new = self.units.fresh(filters // groups)
            made = np.tile(new, groups)
            self._slot(node, weight, columns, Role.READS, by_group[0] if columns == 1 else read)
            self._slot(node, weight, rows, Role.MAKES, made if rows == 0 else new)
        self._biases(node, made)
        return Axis(1, made)

    def _per_channel(self, node: Node, axis: int) -> Axis | None:
        """Parameters with one entry (or row) a channel; a single row serves all channels."""
        found = self.values[node.args[0]]
        if found is None:
            return None
        labels = self._along(node.args[0], axis)
        for name in node.args[1:]:
            if self.graph.types[name].shape[0] == len(labels):
                self._slot(node, name, 0, Role.FOLLOWS, labels)
        return found

    def _joined(self, node: Node) -> Axis | None:
        """Element by element: units at the same place are one; constants follow."""
        rank = len(node.type.shape)
        axes = {found.axis for name in node.args if (found := self._from_right(name, rank)) is not None}
        if len(axes) != 1:
            return self._pinned(node)
        axis = axes.pop()
        labels: Labels | None = None
        for name in node.args:
            own = self._from_right(name, rank)
            if own is not None and len(own.labels) == node.type.shape[axis]:
                if labels is not None:
                    self.units.join(labels, own.labels)
                labels = own.labels
        if labels is None:
            return self._pinned(node)
        for name in node.args:
            self._follow(node, name, axis - rank, labels)
        return Axis(axis, labels)

    def _from_right(self, name: str, rank: int) -> Axis | None:
        """The value's axis, counted in a result of `rank` axes."""
        found = self.values.get(name)
        if found is None:
            return None
        return Axis(found.axis + rank - len(self.graph.types[name].shape), found.labels)

    def _follow(self, node: Node, name: str, from_right: int, labels: Labels) -> None:
        """An operand that is broadcast, has no units of its own or is constant."""
        shape, own = self.graph.types[name].shape, self.values.get(name)
        is_along = len(shape) + from_right >= 0 and shape[from_right] == len(labels)
        if name not in self.values:
            if is_along and len(labels) > 1:
                self._slot(node, name, len(shape) + from_right, Role.FOLLOWS, labels)
        elif not is_along:
            self._pin(name)
            self.mixed.append(labels)
        elif own is None:
            self.units.pin(labels)

    def _concatenated(self, node: Node, axis: int) -> Axis | None:
        """One after the other along the axis that is cut; along another, as an addition."""
        if any(name not in self.values for name in node.args):
            return self._pinned(node)
        found = [self.values[name] for name in node.args]
        present = [own for own in found if own is not None]
        if not present:
            return None
        if all(own.axis == axis for own in present):
            return Axis(axis, np.concatenate([self._along(name, axis) for name in node.args]))
        if len(present) < len(found) or len({own.axis for own in present}) > 1:
            return self._pinned(node)
        for own in present[1:]:
            self.units.join(present[0].labels, own.labels)
        return present[0]

    def _moved(self, node: Node) -> Axis | None:
        axis, x = self.values[node.args[0]], self.graph.types[node.args[0]]
        if axis is None:
            return None
        result = moved(node.op, Value(x.shape, axis), node.type.shape, self.units)
        if result is None:
            self._pin(node.args[0])
        return result

    def _pin_other_uses(self) -> None:
        """Constants that something reads without a slot, or along different axes, stay; shared ones join."""
        slots: dict[tuple[str, int], list[Slot]] = {}
        for slot in self.slots:
            slots.setdefault((slot.const, slot.axis), []).append(slot)
        for (const, _), found in slots.items():
            for slot in found[1:]:
                self.units.join(found[0].labels, slot.labels)
            if len(found) < self._uses(const):
                self.units.pin(found[0].labels)

    def _uses(self, const: str) -> int:
        """How many nodes read the constant, through a decode or not."""
        users = self.graph.users[const]
        count = int(const in self.graph.outputs)
        for node in users:
            count += len(self.graph.users[node.name]) if isinstance(node.op, Decode) else 1
            count += int(node.name in self.graph.outputs and isinstance(node.op, Decode))
        return count
