"""Operations that say together what one operation says alone: frameworks and exporters take them apart differently."""

from __future__ import annotations

import torch

from bitkiln.ir import Node
from bitkiln.ir.ops import Add, Conv2d, Linear, Mul, Sigmoid, Silu

from ._rewrite import Rewrite


def fold_bias(state: Rewrite, node: Node) -> bool:
    """A constant that is added to each output channel of a layer is the layer's bias."""
    if not isinstance(node.op, Add) or not node.type.is_float:
        return False
    for arg, other in (node.args, node.args[::-1]):
        layer, constant = state.nodes.get(arg), state.values((other,))
        if layer is None or constant is None or not isinstance(layer.op, Linear | Conv2d):
            continue
        known = state.values(layer.args[1:])
        channels = state.types[layer.args[1]].shape[0]
        row = _per_channel(constant[0], layer, channels)
        if known is None or row is None or layer.type != node.type or not _is_read_once(state, layer, node):
            continue
        bias = row if len(known) == 1 else known[1] + row
        stem = layer.args[1].removesuffix(".weight")
        name = state.constant(f"{stem}.bias", bias.contiguous(), layer.args[2] if len(known) > 1 else None)
        state.replace(layer, layer.op, *layer.args[:2], name)
        return state.forward(node, layer.name)
    return False


def _per_channel(constant: torch.Tensor, layer: Node, channels: int) -> torch.Tensor | None:
    """The constant as one number a channel, if it has no more than that."""
    axis = 1 if isinstance(layer.op, Conv2d) else len(layer.type.shape) - 1
    rank = len(layer.type.shape)
    shape = (1,) * (rank - constant.dim()) + tuple(constant.shape)
    if any(size != 1 for i, size in enumerate(shape) if i != axis):
        return None
    return constant.reshape(-1).expand(channels)


def _is_read_once(state: Rewrite, layer: Node, node: Node) -> bool:
    """True if `node` alone reads the layer, in this round's graph and before it."""
    return layer.name in state.graph.node[node.name].args and state.has_one_user(layer.name)


def fuse_silu(state: Rewrite, node: Node) -> bool:
    """x * sigmoid(x)."""
    if not isinstance(node.op, Mul):
        return False
    for x, gate in (node.args, node.args[::-1]):
        before = state.nodes.get(gate)
        if before is not None and isinstance(before.op, Sigmoid) and before.args == (x,):
            return state.replace(node, Silu(), x)
    return False
