"""Attention as torch's exporter takes it apart: softmax(a q (a k)^T + mask) v, with a the root of the scale."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._onnx_at import Fixed, Live, Translation, Value

_EXPORTED = "aten.scaled_dot_product_attention.default"


@dataclass(frozen=True)
class AttentionParts:
    """The arguments of scaled_dot_product_attention."""

    query: Value
    key: Value
    value: Value
    mask: Value | None
    scale: float


def attention_parts(translation: Translation, aten: str, weights: Value, value: Value) -> AttentionParts | None:
    """What the product of `weights` and `value` is the attention of; None if it is another product."""
    if aten != _EXPORTED or len(value.shape) < 3:
        return None
    softmax = translation.producer(weights)
    if softmax is None or softmax.target != "aten.softmax.int":
        return None
    (scores,) = translation.operands(softmax)
    mask: Value | None = None
    added = translation.producer(scores)
    if added is not None and added.target == "aten.add.Tensor":
        scores, mask = translation.operands(added)
    product = translation.producer(scores)
    if product is None or product.target != "aten.matmul.default":
        return None
    left, right = translation.operands(product)
    (query, query_factor), (turned, key_factor) = _unscaled(translation, left), _unscaled(translation, right)
    key = _transposed(translation, turned)
    if key is None or query_factor <= 0 or key_factor <= 0:
        return None
    scale, usual = query_factor * key_factor, 1 / math.sqrt(query.shape[-1])
    is_usual = math.isclose(scale, usual, rel_tol=1e-6)  # roots in 32 bits do not multiply to it exactly
    return AttentionParts(query, key, value, mask, usual if is_usual else scale)


def _unscaled(translation: Translation, value: Value) -> tuple[Value, float]:
    """A value and the number that it is multiplied by."""
    call = translation.producer(value)
    if call is not None and call.target == "aten.mul.Tensor":
        operands = translation.operands(call)
        if len(operands) == 2 and isinstance(operands[1], Fixed) and operands[1].data.numel() == 1:
            return operands[0], float(operands[1].data.reshape(()))
    return value, 1.0


def _transposed(translation: Translation, value: Value) -> Live | None:
    """What `value` has the last two axes exchanged of; on the way the others may have been one."""
    call = translation.producer(value)
    if call is None:
        return None
    if call.target == "aten.permute.default":
        (source,) = translation.operands(call)
        order = call.arguments["dims"]
        rank = len(source.shape)
        is_turned = order == (*range(rank - 2), rank - 1, rank - 2)
        return source if is_turned and isinstance(source, Live) else None
    if call.target != "aten.reshape.default":
        return None
    (flat,) = translation.operands(call)
    inner = _transposed(translation, flat) if flat.shape[-2:] == value.shape[-2:] else None
    before = translation.producer(inner) if inner is not None else None
    if before is None or before.target != "aten.reshape.default":
        return None
    (source,) = translation.operands(before)
    is_same = source.shape == (*value.shape[:-2], value.shape[-1], value.shape[-2])
    return source if is_same and isinstance(source, Live) else None
