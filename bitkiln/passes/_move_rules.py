"""Fewer operations that only move elements: orders, parts and borders that join, or that change nothing."""

from __future__ import annotations

from dataclasses import replace

from bitkiln.ir import Node, TensorType, ToolError
from bitkiln.ir.ops import Add, Conv2d, Div, Expand, Mul, Op, Pad, PadMode, Permute, Reshape, Roll, Slice

from ._rewrite import Rewrite

Pair = tuple[int, int]


def is_still(op: Op, x: TensorType, result: TensorType) -> bool:
    """True for an operation of this family that leaves everything where it is."""
    match op:
        case Reshape() | Slice() | Expand():
            return result == x
        case Permute(axes):
            return axes == tuple(range(len(axes)))
        case Pad(pads):
            return not any(any(pair) for pair in pads)
        case Roll(shifts, axes):
            return all(shift % x.shape[axis] == 0 for shift, axis in zip(shifts, axes, strict=True))
        case _:
            return False


def merge_reshapes(state: Rewrite, node: Node) -> bool:
    """Reshape after reshape is one reshape."""
    before = state.before(node)
    if not isinstance(node.op, Reshape) or before is None or not isinstance(before.op, Reshape):
        return False
    return state.replace(node, node.op, *before.args)


def permute_to_reshape(state: Rewrite, node: Node) -> bool:
    """A new order that moves only axes of size 1 moves nothing."""
    if not isinstance(node.op, Permute):
        return False
    shape = state.types[node.args[0]].shape
    large = [axis for axis in node.op.axes if shape[axis] > 1 and axis > 0]
    return large == sorted(large) and state.replace(node, Reshape(node.type.shape), *node.args)


def merge_permutes(state: Rewrite, node: Node) -> bool:
    """Permute after permute is one permute."""
    before = state.before(node)
    if not isinstance(node.op, Permute) or before is None or not isinstance(before.op, Permute):
        return False
    return state.replace(node, Permute(tuple(before.op.axes[axis] for axis in node.op.axes)), *before.args)


def pad_into_convolution(state: Rewrite, node: Node) -> bool:
    """A border of zeros before a convolution is padding of the convolution."""
    before = state.before(node)
    if not isinstance(node.op, Conv2d) or before is None or not isinstance(before.op, Pad):
        return False
    pad, inner = before.op, node.op.padding
    is_plain = pad.mode is PadMode.CONSTANT and pad.value == 0 and pad.pads[0] == (0, 0)
    if not is_plain or min(size for pair in pad.pads for size in pair) < 0:
        return False
    height, width = (_sum(inner[i], pad.pads[i + 1]) for i in range(2))
    return state.replace(node, replace(node.op, padding=(height, width)), *before.args, *node.args[1:])


def _sum(first: Pair, second: Pair) -> Pair:
    return first[0] + second[0], first[1] + second[1]


def drop_expand(state: Rewrite, node: Node) -> bool:
    """Arithmetic broadcasts by itself; an operand need not be expanded if the other one has the size."""
    if not isinstance(node.op, Add | Mul | Div):
        return False
    args = list(node.args)
    for i, arg in enumerate(args):
        before = state.nodes.get(arg)
        if before is not None and isinstance(before.op, Expand):
            args[i] = before.args[0]
            break
    if tuple(args) == node.args or not _gives(node, [state.types[arg] for arg in args]):
        return False
    return state.replace(node, node.op, *args)


def _gives(node: Node, types: list[TensorType]) -> bool:
    try:
        return node.op.infer(*types) == node.type
    except ToolError:
        return False
