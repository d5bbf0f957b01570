"""The layers of a Graph that multiply, with their number formats and weights.

Needs shapes and types only: constants may lie on torch's `meta` device, which has no values.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
from torch import Tensor

from bitkiln.ir import Float, Graph, Node, TensorType
from bitkiln.ir.ops import (
    Attention,
    AvgPool2d,
    BatchNorm,
    Clip,
    Conv2d,
    ConvTranspose2d,
    Linear,
    MatMul,
    MaxPool2d,
    Relu,
    Requantise,
    Reshape,
    ScaleShift,
)
from bitkiln.passes import unshare

from .workload import Layer, LayerKind, Values, Workload

# Done on the values as they pass from one layer to the next.
_PASSING = (Relu, Clip, Requantise, BatchNorm, ScaleShift, Reshape, MaxPool2d, AvgPool2d)
# Done on an output value before it is stored: it is stored in their type.
_FINISHING = (Relu, Clip, Requantise, BatchNorm, ScaleShift)


def workload_of(graph: Graph, batch: int = 1) -> Workload:
    """Return the layers of `graph` for `batch` images.

    A transposed convolution is the matrix product before its overlapping sum; attention is its two products. Products
    of two activations are one group a head and image, as neither side is shared. Shared weights count as their values.
    """
    graph = unshare(graph)
    layers: list[Layer] = []
    for node in graph.nodes:
        layers += [replace(layer, source=_source(graph, node)) for layer in _layers(graph, node, batch)]
    known = {layer.name for layer in layers}
    layers = [layer if layer.source in known else replace(layer, source="") for layer in layers]
    products = (Linear, Conv2d, ConvTranspose2d, MatMul, Attention)
    other = Counter(node.op.name for node in graph.nodes if not isinstance(node.op, products))
    return Workload(graph.name, tuple(layers), batch, tuple(sorted(other.items())))


def _layers(graph: Graph, node: Node, batch: int) -> list[Layer]:
    args = graph.arg_types(node)
    match node.op:
        case Conv2d():
            return [_convolution(graph, node, node.op, batch)]
        case Linear():
            rows = math.prod(args[0].shape[1:-1])
            return [_matrix(graph, node, rows, args[1].shape[::-1], batch)]
        case ConvTranspose2d(groups=groups):
            size = (args[0].shape[1], math.prod(args[1].shape[1:]) * groups)
            layer = _matrix(graph, node, math.prod(args[0].shape[2:]), size, batch)
            return [replace(layer, groups=groups, weights=None)]
        case MatMul():
            return [_product(node.name, node, args[0], args[1].shape[-1], node.type, batch)]
        case Attention():
            scores = TensorType((*node.type.shape[:-1], args[1].shape[-2]), node.type.number)
            return [
                _product(f"{node.name}.scores", node, args[0], args[1].shape[-2], scores, batch),
                _product(f"{node.name}.values", node, scores, args[2].shape[-1], node.type, batch),
            ]
        case _:
            return []


def _convolution(graph: Graph, node: Node, op: Conv2d, batch: int) -> Layer:
    x, weight = graph.arg_types(node)[:2]
    return Layer(
        name=node.name,
        kind=LayerKind.CONVOLUTION,
        height=x.shape[2],
        width=x.shape[3],
        channels=x.shape[1],
        filters=weight.shape[0],
        kernel=(weight.shape[2], weight.shape[3]),
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
        batch=batch,
        weight_bits=_bits(weight),
        activation_bits=_bits(x),
        output_bits=_output_bits(graph, node),
        place=str(node.loc),
        weights=_values(graph, node.args[1]),
    )


def _matrix(graph: Graph, node: Node, rows: int, size: tuple[int, ...], batch: int) -> Layer:
    x, weight = graph.arg_types(node)[:2]
    return Layer(
        name=node.name,
        kind=LayerKind.MATRIX,
        height=rows,
        width=1,
        channels=size[0],
        filters=size[1],
        batch=batch,
        weight_bits=_bits(weight),
        activation_bits=_bits(x),
        output_bits=_output_bits(graph, node),
        place=str(node.loc),
        weights=_values(graph, node.args[1]),
    )


def _product(name: str, node: Node, x: TensorType, columns: int, result: TensorType, batch: int) -> Layer:
    """A product of two activations: as many groups as the result has matrices."""
    groups = math.prod(result.shape[:-2]) * batch
    return Layer(
        name=name,
        kind=LayerKind.MATRIX,
        height=x.shape[-2],
        width=1,
        channels=x.shape[-1] * groups,
        filters=columns * groups,
        groups=groups,
        weight_bits=_bits(x),
        activation_bits=_bits(x),
        output_bits=_bits(result),
        has_constant_weights=False,
        place=str(node.loc),
    )


def _bits(type_: TensorType) -> int | None:
    return None if isinstance(type_.number, Float) else type_.number.bits


def _output_bits(graph: Graph, node: Node) -> int | None:
    """Bits of a value as it is stored: after the operations that finish it."""
    while (following := graph.users[node.name]) and len(following) == 1 and isinstance(following[0].op, _FINISHING):
        node = following[0]
    return _bits(node.type)


def _values(graph: Graph, name: str) -> Values | None:
    const = graph.const.get(name)
    if const is None or const.data.device.type == "meta":
        return None
    data: Tensor = const.data
    values: Values = data.detach().float().numpy().astype(np.float32, copy=False)
    return values


def _source(graph: Graph, node: Node) -> str:
    """The node that alone feeds this one, through operations done in passing; empty if its value is used elsewhere."""
    name = node.args[0]
    while len(graph.users[name]) == 1 and name not in graph.outputs and name in graph.node:
        producer = graph.node[name]
        if not isinstance(producer.op, _PASSING):
            return name
        name = producer.args[0]
    return ""
