"""Operations that move elements or reduce them, as they move the numbers of units along one axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bitkiln.ir.ops import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Expand,
    Flip,
    LayerNorm,
    LogSoftmax,
    MaxPool2d,
    Op,
    Pad,
    PadMode,
    Permute,
    Reshape,
    Resize,
    Roll,
    Slice,
    Softmax,
    SumPool2d,
    Take,
)
from bitkiln.ir.ops.reduce import Reduction

from ._units import Labels, Units

POOLS = (MaxPool2d, AvgPool2d, SumPool2d, AdaptiveAvgPool2d, Resize)
MOVES = (*POOLS, Reduction, Reshape, Permute, Slice, Take, Flip, Roll, Expand, Pad, Softmax, LogSoftmax, LayerNorm)


@dataclass(frozen=True, eq=False)
class Axis:
    """The axis along which a value can be cut, and the unit of each index there."""

    axis: int
    labels: Labels


@dataclass(frozen=True, eq=False)
class Value:
    """A value's shape, and its axis with units."""

    shape: tuple[int, ...]
    units: Axis


def moved(op: Op, x: Value, shape: tuple[int, ...], units: Units) -> Axis | None:
    """Return the axis with units of the result, of `shape`; None if the operation needs them all."""
    axis, labels = x.units.axis, x.units.labels
    match op:
        case Reshape():
            return _reshaped(x, shape, units)
        case Permute(axes=axes):
            return Axis(axes.index(axis), labels)
        case Slice(axis=cut, start=start, stop=stop, step=step) if cut == axis:
            return Axis(axis, labels[start:stop:step])
        case Take(axis=cut, indices=indices) if cut == axis:
            return Axis(axis, labels[list(indices)])
        case Flip(axes=axes) if axis in axes:
            return Axis(axis, labels[::-1])
        case Pad():
            return _padded(op, x.units, units)
        case _ if _needs_all(op, x):
            return None
        case Reduction(axes=axes, keep=keep):
            return Axis(axis if keep else axis - sum(other < axis for other in axes), labels)
        case _:
            return x.units


def _needs_all(op: Op, x: Value) -> bool:
    """True if indices along the axis with units depend on each other or on their number."""
    axis = x.units.axis
    match op:
        case Reduction(axes=axes) | Roll(axes=axes):
            return axis in axes
        case Softmax(axis=along) | LogSoftmax(axis=along):
            return axis == along
        case LayerNorm(axes=count):
            return axis >= len(x.shape) - count
        case Expand(shape=shape):
            return shape[axis] != x.shape[axis]
        case _ if isinstance(op, POOLS):
            return axis != 1
        case _:
            return False


def _padded(op: Pad, own: Axis, units: Units) -> Axis | None:
    """Channels that are added can be cut by themselves; those that a negative number cuts off are gone."""
    before, after = op.pads[own.axis - 1]
    if op.mode is not PadMode.CONSTANT and (before or after):
        return None
    kept = own.labels[max(0, -before) : len(own.labels) - max(0, -after)]
    return Axis(own.axis, np.concatenate([units.fresh(max(0, before)), kept, units.fresh(max(0, after))]))


def _reshaped(x: Value, shape: tuple[int, ...], units: Units) -> Axis | None:
    """In row-major order. Where units vary along several axes, one is chosen and the others joined: groups that are
    shuffled are cut at the same place."""
    lined_up = x.units.labels.reshape([-1 if axis == x.units.axis else 1 for axis in range(len(x.shape))])
    full = units.find(np.broadcast_to(lined_up, x.shape)).reshape(shape)
    varying = [axis for axis in range(1, len(shape)) if (full != full.take([0], axis)).any()]
    if not varying:
        return None
    is_image = len(shape) == 4 and 1 in varying
    axis = 1 if is_image else max(varying, key=lambda axis: shape[axis])
    lines = np.moveaxis(full, axis, 0).reshape(shape[axis], -1)
    units.join(lines, lines[:, :1])
    return Axis(axis, lines[:, 0].copy())
