"""A graph without some units: constants, attributes and shapes become smaller, everything else stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from bitkiln.ir import Const, Graph, Input, Int, Node, TensorType, prune_dead, verify
from bitkiln.ir.ops import (
    Conv2d,
    ConvTranspose2d,
    Decode,
    Dequantise,
    Expand,
    GroupNorm,
    MultiThreshold,
    Op,
    Pad,
    QuantiseScaled,
    Requantise,
    Reshape,
    Slice,
    Take,
)

from ._channels import Channels, Role
from ._units import Labels

Kept = NDArray[np.bool_]


def without(channels: Channels, removed: Labels) -> Graph:
    """Return the verified graph without the units `removed`, none of which is pinned.

    Every axis must keep an index. Raises ToolError `type-mismatch` where codes of other widths no longer fit together.
    """
    cut = _Cut(channels, removed)
    consts = [cut.constant(const) for const in channels.graph.consts]
    leaves: tuple[Input | Const, ...] = (*channels.graph.inputs, *consts)
    types = {value.name: value.type for value in leaves}
    nodes: list[Node] = []
    for node in channels.graph.nodes:
        op = cut.operation(node)
        nodes.append(replace(node, op=op, type=op.infer(*(types[arg] for arg in node.args))))
        types[node.name] = nodes[-1].type
    return verify(prune_dead(replace(channels.graph, consts=tuple(consts), nodes=tuple(nodes))))


def emptied(channels: Channels, removed: Labels) -> Labels:
    """Return units of `removed` that would leave an axis of a value or of a constant without any index."""
    every = [*(slot.labels for slot in channels.slots), *(axis.labels for axis in channels.values.values() if axis)]
    found = [labels for labels in map(channels.units.find, every) if np.isin(labels, removed).all()]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def smaller_const(const: Const, axis: int, kept: Kept) -> Const:
    """The constant with some indices along one axis, and the points of its channels if they lie there."""
    data = const.data.index_select(axis, torch.from_numpy(np.flatnonzero(kept)))
    number = const.type.number
    if isinstance(number, Int) and number.axis == axis and isinstance(number.frac, tuple):
        number = replace(number, frac=_of(number.frac, kept))
    return Const(const.name, TensorType(tuple(data.shape), number), data)


@dataclass
class _Cut:
    channels: Channels
    removed: Labels

    def constant(self, const: Const) -> Const:
        done: set[int] = set()
        for slot in self.channels.slots:
            if slot.const == const.name and slot.axis not in done:
                done.add(slot.axis)
                kept = self._kept(slot.labels)
                const = const if kept.all() else smaller_const(const, slot.axis, kept)
        return const

    def operation(self, node: Node) -> Op:
        """The operation with the attributes that say how many channels there are."""
        if isinstance(node.op, Decode) or node.name not in self.channels.values:
            return node.op
        before, after = (self.channels.values.get(name) for name in (node.args[0], node.name))
        if after is None or (before is None and not isinstance(node.op, Reshape | Expand)):
            return node.op
        kept_after = self._kept(after.labels)
        kept = kept_after if before is None else self._kept(before.labels)
        if kept.all() and kept_after.all():
            return node.op
        match node.op:
            case Conv2d() | ConvTranspose2d() as op:
                return replace(op, groups=self._groups(node, op.groups))
            case GroupNorm() as op:
                return replace(op, groups=int(kept.sum()))
            case Reshape(shape=shape) | Expand(shape=shape):
                size = int(kept_after.sum())
                return replace(node.op, shape=(*shape[: after.axis], size, *shape[after.axis + 1 :]))
            case Slice(axis=axis, start=start, stop=stop, step=step) if axis == after.axis:
                return _taken(axis, kept, range(start, stop, step))
            case Take(axis=axis, indices=indices) if axis == after.axis:
                return _taken(axis, kept, indices, is_slice=False)
            case Pad() as op:
                return replace(op, pads=_pads(op, after.axis, kept, kept_after))
            case op:
                return _per_channel(op, kept)

    def _groups(self, node: Node, groups: int) -> int:
        """Groups of a depthwise convolution go with their channels; others become narrower."""
        for slot in self.channels.slots:
            if slot.node is node and slot.role is Role.PASSES:
                source = self.channels.values[node.args[0]]
                return int(self._kept(source.labels).sum()) if source else groups
        return groups

    def _kept(self, labels: Labels) -> Kept:
        return ~np.isin(self.channels.units.find(labels), self.removed)


def _taken(axis: int, kept: Kept, indices: Sequence[int], is_slice: bool = True) -> Slice | Take:
    """The same elements at their new places."""
    place = np.cumsum(kept) - 1
    places = tuple(int(place[i]) for i in indices if kept[i])
    if is_slice and places == tuple(range(places[0], places[-1] + 1)):
        return Slice(axis, places[0], places[-1] + 1)
    return Take(axis, places)


def _pads(op: Pad, axis: int, kept: Kept, kept_after: Kept) -> tuple[tuple[int, int], ...]:
    before, after = op.pads[axis - 1]
    first = int(kept_after[:before].sum()) if before > 0 else -int(kept[: max(0, -before)].sum())
    last = int(kept_after[len(kept_after) - max(0, after) :].sum())
    if after < 0:
        last = -int(kept[len(kept) + after :].sum())
    return (*op.pads[: axis - 1], (first, last), *op.pads[axis:])


def _per_channel(op: Op, kept: Kept) -> Op:
    """Attributes with one entry a channel; those with one entry for all stay."""
    match op:
        case Requantise():
            return replace(op, shift=_of(op.shift, kept))
        case Dequantise():
            return replace(op, frac=_of(op.frac, kept))
        case QuantiseScaled():
            scale = tuple(value for value, stays in zip(op.scale, kept, strict=False) if stays)
            return replace(
                op, scale=scale if len(op.scale) == len(kept) else op.scale, zero_point=_of(op.zero_point, kept)
            )
        case MultiThreshold():
            return replace(op, base=_of(op.base, kept), step=_of(op.step, kept))
        case _:
            return op


def _of(values: tuple[int, ...], kept: Kept) -> tuple[int, ...]:
    if len(values) != len(kept):
        return values
    return tuple(value for value, stays in zip(values, kept, strict=True) if stays)
