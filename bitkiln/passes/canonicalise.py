"""One form for graphs that compute the same: constants folded, identities gone, batch norm inside the layer before.

Every importer ends here, so the passes and the generators behind it see few operations. Rules are local rewrites,
applied until none fits; each replaces a node by another on the same inputs, within float rounding.
"""

from __future__ import annotations

import math

import torch

from bitkiln.ir import Graph, Node, TensorType
from bitkiln.ir.ops import AdaptiveAvgPool2d, AvgPool2d, Clip, Concat, MaxPool2d, Relu, WeightQuantiser

from ._affine_rules import fold_batch_norm, fold_scale_shift
from ._fusion_rules import fold_bias, fold_factor, fuse_gate
from ._move_rules import drop_expand, is_still, merge_permutes, merge_reshapes, pad_into_convolution, permute_to_reshape
from ._rewrite import Rewrite, Rule, rewrite


def canonicalise(graph: Graph) -> Graph:
    """Return the canonical form of `graph`. Keeps the function within float rounding, and codes exactly; applying it
    again changes nothing."""
    while (simpler := rewrite(graph, RULES)) is not graph:
        graph = simpler
    return graph


def fold_constant(state: Rewrite, node: Node) -> bool:
    """A float node on constants becomes a constant, unless it is the quantiser of weights that are to be trained."""
    data = state.values(node.args)
    if data is None or not node.type.is_float or isinstance(node.op, WeightQuantiser):
        return False
    with torch.no_grad():
        result = node.op.evaluate(*data)
    return state.forward(node, state.constant(node.name + ".folded", result.contiguous()))


def drop_identity(state: Rewrite, node: Node) -> bool:
    """A node that changes nothing is left out."""
    x = node.args[0]
    return _is_identity(node, state.types[x]) and state.forward(node, x)


def _is_identity(node: Node, x: TensorType) -> bool:
    match node.op:
        case AdaptiveAvgPool2d():
            return node.type == x
        case Concat():
            return len(node.args) == 1
        case MaxPool2d(kernel=(1, 1), stride=(1, 1), padding=(0, 0)):
            return True
        case AvgPool2d(kernel=(1, 1), stride=(1, 1), padding=(0, 0), divisor=None | 1):
            return True
        case Clip(lo, hi):
            return lo == -math.inf and hi == math.inf
        case _:
            return is_still(node.op, x, node.type)


def merge_clips(state: Rewrite, node: Node) -> bool:
    """Clip after clip is one clip to the common range, if there is one."""
    before = state.before(node)
    if not isinstance(node.op, Relu | Clip) or before is None or not isinstance(before.op, Relu | Clip):
        return False
    (lo, hi), (inner_lo, inner_hi) = _limits(node), _limits(before)
    lo, hi = max(lo, inner_lo), min(hi, inner_hi)
    if lo > hi:
        return False
    if (lo, hi) == (inner_lo, inner_hi):
        return state.forward(node, before.name)
    return state.replace(node, Relu() if (lo, hi) == (0, math.inf) else Clip(lo, hi), *before.args)


def _limits(node: Node) -> tuple[float, float]:
    return (node.op.lo, node.op.hi) if isinstance(node.op, Clip) else (0, math.inf)


RULES: tuple[Rule, ...] = (
    *(fold_constant, drop_identity),
    *(merge_clips, fold_batch_norm, fold_scale_shift, fold_bias, fold_factor, fuse_gate),
    *(permute_to_reshape, merge_reshapes, merge_permutes, pad_into_convolution, drop_expand),
)
