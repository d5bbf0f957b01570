"""Values to fixed-point codes and back, and a graph with other constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from bitkiln.ir import Const, Graph, Input, Int, Node, storage_dtype, verify
from bitkiln.ir.types import TensorType


def scale(number: Int, rank: int) -> Tensor:
    """Codes per unit of value, 2**frac in float64, shaped to broadcast along the format's axis of a `rank`-tensor."""
    steps = torch.tensor([2.0**frac for frac in number.fracs], dtype=torch.float64)
    if number.axis is None:
        return steps.reshape(())
    return steps.reshape([-1 if axis == number.axis else 1 for axis in range(rank)])


def rounded(values: Tensor, number: Int) -> Tensor:
    """Round values half up to whole codes, without saturation, as float64."""
    return torch.floor(values.to(torch.float64) * scale(number, values.dim()) + 0.5)


def to_codes(values: Tensor, number: Int) -> Tensor:
    """Round values half up to codes, saturating, in the format's storage dtype."""
    return rounded(values, number).clamp(number.lo, number.hi).to(storage_dtype(number))


def to_values(codes: Tensor, number: Int) -> Tensor:
    """Return code * 2**-frac as float64."""
    return codes.to(torch.float64) / scale(number, codes.dim())


def int_const(name: str, codes: Tensor, number: Int) -> Const:
    """A constant of whole `codes` (any dtype), which `number` must be able to hold."""
    return Const(name, TensorType(tuple(codes.shape), number), codes.to(storage_dtype(number)))


def exact_const(name: str, codes: Tensor, number: Int) -> Const:
    """A signed constant at the points of `number` and as wide as its codes need: biases must not saturate."""
    width = Int.holding(int(codes.min()), int(codes.max()), number.frac, number.axis, signed=True)
    return int_const(name, codes, width)


def with_constants(graph: Graph, changes: Mapping[str, Const]) -> Graph:
    """Return the verified graph with some constants replaced, by name; the types of all nodes follow."""
    consts = tuple(changes.get(const.name, const) for const in graph.consts)
    leaves: tuple[Input | Const, ...] = (*graph.inputs, *consts)
    types = {value.name: value.type for value in leaves}
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(replace(node, type=node.op.infer(*(types[arg] for arg in node.args))))
        types[node.name] = nodes[-1].type
    return verify(replace(graph, consts=consts, nodes=tuple(nodes)))
