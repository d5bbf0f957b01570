"""Scale and shift a channel go into the weights of the layer before, or stay as one operation of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from bitkiln.ir import Node
from bitkiln.ir.ops import BatchNorm, Conv2d, Linear, ScaleShift

from ._rewrite import Rewrite


def fold_batch_norm(state: Rewrite, node: Node) -> bool:
    """Batch norm with known statistics becomes part of the layer before, or a scale-shift."""
    parameters = state.values(node.args[1:])
    if not isinstance(node.op, BatchNorm) or parameters is None:
        return False
    gamma, beta, mean, variance = (data.to(torch.float64) for data in parameters)
    scale = gamma / torch.sqrt(variance + node.op.eps)
    shift = beta - mean * scale
    before = state.before(node)
    if before is not None and _takes_affine(state, before, node):
        return _into_weights(state, before, node, scale, shift)
    names = [
        state.constant(f"{node.name}.{what}", data.to(torch.float32))
        for what, data in (("scale", scale), ("shift", shift))
    ]
    return state.replace(node, ScaleShift(), node.args[0], *names)


def fold_scale_shift(state: Rewrite, node: Node) -> bool:
    """A scale-shift with known parameters becomes part of the layer before."""
    before, parameters = state.before(node), state.values(node.args[1:])
    if not isinstance(node.op, ScaleShift) or parameters is None or before is None:
        return False
    if not _takes_affine(state, before, node):
        return False
    scale, shift = (data.to(torch.float64) for data in parameters)
    return _into_weights(state, before, node, scale, shift)


def _takes_affine(state: Rewrite, before: Node, node: Node) -> bool:
    """True if scale and shift of axis 1 can go into the weights of the node before, which nobody else sees. (If the
    node before came to stand there in this very round, the next round decides.)"""
    if state.graph.node[node.name].args[0] != before.name or not state.has_one_user(before.name):
        return False
    is_last_axis = len(node.type.shape) == 2
    is_layer = isinstance(before.op, Conv2d | ScaleShift) or (isinstance(before.op, Linear) and is_last_axis)
    return is_layer and state.values(before.args[1:]) is not None


def _into_weights(state: Rewrite, before: Node, node: Node, scale: Tensor, shift: Tensor) -> bool:
    weight, *rest = (state.consts[arg].data for arg in before.args[1:])
    scaled = weight * scale.to(weight.dtype).reshape(-1, *[1] * (weight.dim() - 1))
    bias = (rest[0].to(torch.float64) * scale if rest else torch.zeros_like(shift)) + shift
    old_bias = before.args[2] if rest else None
    stem = before.args[1].removesuffix(".weight")
    names = (
        state.constant(before.args[1], scaled, before.args[1]),
        state.constant(f"{stem}.bias", bias.to(weight.dtype), old_bias),
    )
    state.replace(before, before.op, before.args[0], *names)
    return state.forward(node, before.name)
