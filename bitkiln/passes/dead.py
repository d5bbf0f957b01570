"""Dead neurons and channels removed: nothing reads them, or nothing feeds them (Han et al. 2015, section 3).

Pruning single weights leaves them behind. What no non-zero weight feeds is constant: its contribution to the next layer
is added to that layer's bias, where it is the same at every position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.ir import Const, Float, Graph, Input, Int, Node, TensorType, ToolError, evaluate, prune_dead, verify
from bitkiln.ir.ops import Conv2d, ConvTranspose2d, Decode, Linear

from ._base import Context, Keeps, Pass
from ._channel_cut import emptied, without
from ._channels import Channels, Role, Slot
from ._codes import exact_const
from ._units import PINNED, Labels

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class RemoveDead(Pass):
    """Remove neurons and channels without an input or an output, over and over until none is left.

    >>> RemoveDead().keeps
    <Keeps.BITS: 'bits'>
    """

    name: ClassVar[str] = "remove_dead"
    keeps: ClassVar[Keeps] = Keeps.BITS

    def run(self, graph: Graph, context: Context) -> Graph:
        return remove_dead(graph)


def remove_dead(graph: Graph) -> Graph:
    """Return the graph without dead channels: the same function, bit for bit on codes and up to rounding on floats.

    A channel that nothing feeds stays where padding makes its contribution differ from position to position, and each
    value keeps at least one channel.
    """
    graph = prune_dead(graph)
    while (smaller := _without_dead(graph)) is not graph:
        graph = smaller
    return graph


def _without_dead(graph: Graph) -> Graph:
    dead = _Dead(Channels.of(graph))
    removed = np.flatnonzero(dead.removable())
    while len(spared := emptied(dead.channels, removed)):
        removed = removed[removed != spared[0]]
    if not len(removed):
        return graph
    try:
        return without(Channels.of(dead.folded(removed)), removed)
    except ToolError:
        # Fewer terms make narrower accumulators; a concatenation of such takes only equal ones.
        return graph


@dataclass
class _Dead:
    """What is known of the units of a graph; flags are by number of a unit."""

    channels: Channels

    def __post_init__(self) -> None:
        self.graph = self.channels.graph
        self.count = self.channels.units.count
        self.readers = [slot for slot in self.channels.slots if slot.role is Role.READS]
        self.constant = self._constant_units()
        self.values = self._values_on_zeros()

    def removable(self) -> Flags:
        """Units that every reader can do without; pinned ones are read by something that is not known."""
        found = np.ones(self.count, bool)
        found &= self.channels.units.find(np.arange(self.count)) == np.arange(self.count)
        found[PINNED] = False
        found &= self._flags(axis.labels for axis in self.channels.values.values() if axis)
        for slot in self.readers:
            ignored = self._is_zero(slot) | self._is_foldable(slot)
            np.logical_and.at(found, self.channels.units.find(slot.labels), ignored)
        return found

    def folded(self, removed: Labels) -> Graph:
        """The graph with what the removed units contribute added to the biases of their readers."""
        consts, nodes = dict(self.graph.const), {node.name: node for node in self.graph.nodes}
        for slot in self.readers:
            change = self._contribution(slot.node, removed)
            if bool(change.any()):
                bias = self._bias(slot.node, change)
                consts[bias.name] = bias
                nodes[slot.node.name] = replace(slot.node, args=(*slot.node.args[:2], bias.name))
        return _retyped(replace(self.graph, consts=tuple(consts.values()), nodes=tuple(nodes.values())))

    def _flags(self, labels: Iterable[Labels]) -> Flags:
        """Units that occur."""
        flags = np.zeros(self.count, bool)
        for found in labels:
            flags[self.channels.units.find(found)] = True
        return flags

    def _weight(self, node: Node) -> Tensor:
        """The weight's values or codes in float64."""
        name = node.args[1]
        decode = self.graph.node.get(name)
        if decode is None:
            return self.graph.const[name].data.detach().to(torch.float64)
        assert isinstance(decode.op, Decode)
        indices, table = (self.graph.const[arg].data.detach() for arg in decode.args)
        return decode.op.evaluate(indices, table).to(torch.float64)

    def _is_zero(self, slot: Slot) -> Flags:
        """Whether the slices of a weight are zero, by index along the slot's axis."""
        weight = self._weight(slot.node)
        lines = weight.movedim(slot.axis, 0).reshape(weight.shape[slot.axis], -1)
        return np.asarray((lines == 0).all(1).numpy())

    def _constant_units(self) -> dict[str, Flags]:
        """For each value with units, those whose every index has a value that no input changes."""
        constant: dict[str, Flags] = {}
        made = {(slot.node.name, slot.role): slot for slot in self.channels.slots}
        mixed = self._flags(self.channels.mixed)
        for node in self.graph.nodes:
            axis = self.channels.values.get(node.name)
            if axis is None:
                continue
            if slot := made.get((node.name, Role.MAKES)):
                constant[node.name] = self._all(slot.labels, self._is_zero(slot))
                continue
            passed = np.ones(self.count, bool)
            for arg in node.args:
                if (own := self.channels.values.get(arg)) is not None:
                    passed &= constant[arg] | ~self._flags([own.labels])
            if slot := made.get((node.name, Role.PASSES)):
                passed |= self._all(slot.labels, self._is_zero(slot))
            constant[node.name] = passed & ~mixed
        return constant

    def _all(self, labels: Labels, flags: Flags) -> Flags:
        result = np.ones(self.count, bool)
        np.logical_and.at(result, self.channels.units.find(labels), flags)
        return result

    def _values_on_zeros(self) -> dict[str, Tensor]:
        """What each reader sees where the inputs are 0: constant channels have these values always."""
        names = tuple(dict.fromkeys(slot.node.args[0] for slot in self.readers))
        zeros = [torch.zeros(value.type.shape, dtype=torch.float64) for value in self.graph.inputs]
        probe = prune_dead(replace(self.graph, outputs=names)) if names else self.graph
        with torch.no_grad():
            return dict(zip(names, evaluate(probe, *zeros), strict=True)) if names else {}

    def _is_foldable(self, slot: Slot) -> Flags:
        """Whether what comes in along the slot's axis is constant, the same at each position, and adds the same there.

        A grouped convolution reads several channels at one index; all of them count.
        """
        node, x = slot.node, self.values[slot.node.args[0]]
        axis = self.channels.values[node.args[0]]
        flags = np.zeros(len(slot.labels), bool)
        if axis is None or not (len(node.args) == 2 or node.args[2] in self.graph.const):
            return flags
        lines = x.movedim(axis.axis, 0).reshape(x.shape[axis.axis], -1)
        foldable = (lines == lines[:, :1]).all(1)
        if _depends_on_position(node):
            foldable &= lines[:, 0] == 0
        units = self.channels.units.find(axis.labels)
        by_unit = self._all(axis.labels, np.asarray(foldable.numpy()) & self.constant[node.args[0]][units])
        return by_unit[self.channels.units.find(slot.labels)]

    def _contribution(self, node: Node, removed: Labels) -> Tensor:
        """What the removed channels add to each output channel."""
        x, axis = self.values[node.args[0]], self.channels.values[node.args[0]]
        if axis is None:
            return torch.zeros(1)
        gone = torch.from_numpy(np.isin(self.channels.units.find(axis.labels), removed))
        shape = [-1 if place == axis.axis else 1 for place in range(x.dim())]
        weight = self._weight(node)
        # A removed channel that is not constant meets only zeros; it must not bring NaN or infinity along.
        masked = torch.where(gone.reshape(shape) & torch.isfinite(x), x.to(torch.float64), 0.0)
        result = node.op.evaluate(masked, weight)
        channels = result.movedim(-1 if isinstance(node.op, Linear) else 1, 0)
        return channels.reshape(len(channels), -1)[:, 0]

    def _bias(self, node: Node, change: Tensor) -> Const:
        """The node's bias with `change` added: values, or codes at the accumulator's points."""
        old = self.graph.const[node.args[2]] if len(node.args) > 2 else None
        total = change if old is None else old.data.detach().to(torch.float64) + change
        name = self._bias_name(node)
        number = self.graph.types[node.name].number
        if isinstance(number, Float):
            data = total.to(torch.float32 if old is None else old.data.dtype)
            return Const(name, TensorType(tuple(data.shape), Float(8 * data.element_size())), data)
        assert isinstance(number, Int)
        return exact_const(name, total, replace(number, axis=None if number.axis is None else 0))

    def _bias_name(self, node: Node) -> str:
        """That of the old bias if nothing else reads it, else a new one."""
        name = node.args[2] if len(node.args) > 2 else f"{node.name}.bias"
        if len(node.args) > 2 and len(self.graph.users[name]) == 1:
            return name
        while name in self.graph.types:
            name = f"{name}_folded"
        return name


def _depends_on_position(node: Node) -> bool:
    """True if the same value at each position gives different sums: at padded edges, and where kernels overlap."""
    match node.op:
        case Conv2d(padding=padding):
            return any(map(any, padding))
        case ConvTranspose2d():
            return True
        case _:
            return False


def _retyped(graph: Graph) -> Graph:
    """The graph with the types that follow from its constants."""
    leaves: tuple[Input | Const, ...] = (*graph.inputs, *graph.consts)
    types = {value.name: value.type for value in leaves}
    nodes = []
    for node in graph.nodes:
        nodes.append(replace(node, type=node.op.infer(*(types[arg] for arg in node.args))))
        types[node.name] = nodes[-1].type
    return verify(prune_dead(replace(graph, nodes=tuple(nodes))))
