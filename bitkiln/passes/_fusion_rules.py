"""Operations that say together what one operation says alone: frameworks and exporters take them apart differently."""

from __future__ import annotations

from torch import Tensor

from bitkiln.ir import Node
from bitkiln.ir.ops import Add, Conv2d, HardSigmoid, HardSwish, Linear, Mul, Sigmoid, Silu

from ._rewrite import Rewrite


def fold_bias(state: Rewrite, node: Node) -> bool:
    """A constant that is added to each output channel of a layer is the layer's bias."""
    found = _layer_and_row(state, node) if isinstance(node.op, Add) else None
    if found is None:
        return False
    layer, row = found
    weight, *bias = layer.args[1:]
    total = state.consts[bias[0]].data + row if bias else row.contiguous()
    name = state.constant(f"{weight.removesuffix('.weight')}.bias", total, bias[0] if bias else None)
    state.replace(layer, layer.op, layer.args[0], weight, name)
    return state.forward(node, layer.name)


def fold_factor(state: Rewrite, node: Node) -> bool:
    """A constant that multiplies each output channel of a layer goes into its weights and bias."""
    found = _layer_and_row(state, node) if isinstance(node.op, Mul) else None
    if found is None:
        return False
    layer, row = found
    data = [state.consts[arg].data for arg in layer.args[1:]]
    scaled = [tensor * row.reshape(-1, *[1] * (tensor.dim() - 1)) for tensor in data]
    names = [state.constant(arg, tensor, arg) for arg, tensor in zip(layer.args[1:], scaled, strict=True)]
    state.replace(layer, layer.op, layer.args[0], *names)
    return state.forward(node, layer.name)


def _layer_and_row(state: Rewrite, node: Node) -> tuple[Node, Tensor] | None:
    """The layer with known weights that only `node` reads, and the constant that `node` joins to each of its output
    channels."""
    for arg, other in (node.args, node.args[::-1]):
        layer, constant = state.nodes.get(arg), state.values((other,))
        if layer is None or constant is None or not isinstance(layer.op, Linear | Conv2d):
            continue
        row = _per_channel(constant[0], layer, state.types[layer.args[1]].shape[0])
        if row is not None and state.values(layer.args[1:]) and _is_read_once(state, layer, node):
            return layer, row
    return None


def _per_channel(constant: Tensor, layer: Node, channels: int) -> Tensor | None:
    """The constant as one number a channel, if it has no more than that."""
    axis = 1 if isinstance(layer.op, Conv2d) else len(layer.type.shape) - 1
    rank = len(layer.type.shape)
    shape = (1,) * (rank - constant.dim()) + tuple(constant.shape)
    if len(shape) > rank or any(size != 1 for i, size in enumerate(shape) if i != axis):
        return None
    return constant.reshape(-1).expand(channels)


def _is_read_once(state: Rewrite, layer: Node, node: Node) -> bool:
    """True if `node` alone reads the layer, in this round's graph and before it."""
    return layer.name in state.graph.node[node.name].args and state.has_one_user(layer.name)


def fuse_gate(state: Rewrite, node: Node) -> bool:
    """x * sigmoid(x) is silu, x * hard_sigmoid(x) is hard_swish."""
    if not isinstance(node.op, Mul):
        return False
    for x, gate in (node.args, node.args[::-1]):
        before = state.nodes.get(gate)
        if before is None or not isinstance(before.op, Sigmoid | HardSigmoid) or before.args != (x,):
            continue
        fused = Silu() if isinstance(before.op, Sigmoid) else HardSwish()
        if not _is_read_once(state, before, node):
            return state.replace(node, fused, x)
        state.replace(before, fused, x)
        return state.forward(node, before.name)
    return False
