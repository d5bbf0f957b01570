"""What only training has: dropout, moved images, and batch norm by the batch's own statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir import Graph, Node, TensorType, fail
from bitkiln.ir.ops import BatchNorm, Op

from ._batch_statistics import BatchNormInTraining
from ._objectives import LayerDropout
from ._selection import check_layers, matches, weighted_layers


@dataclass(frozen=True, eq=False)
class Dropout(Op):
    """Each value 0 with probability `rate`, else 1 / (1 - rate) times as large (Srivastava et al. 2014)."""

    name: ClassVar[str] = "dropout"
    rate: float
    generator: torch.Generator

    def infer(self, *args: TensorType) -> TensorType:
        return args[0]

    def evaluate(self, *args: Tensor) -> Tensor:
        kept = torch.rand(args[0].shape, generator=self.generator) >= self.rate
        return args[0] * kept.to(args[0].dtype) * (1.0 / (1.0 - self.rate))


def for_training(graph: Graph, dropout: Sequence[LayerDropout], generator: torch.Generator) -> Graph:
    """Return the graph as a step of training evaluates it; it is never kept.

    Batch norms take the statistics of the batch; dropout comes before the layers that it names, of several entries the
    last one counts. Raises ToolError `unknown-layer`, and `cannot-tune` for dropout in fixed point.
    """
    layers = weighted_layers(graph)
    check_layers(graph, layers, (entry.layer for entry in dropout))
    nodes: list[Node] = []
    for node in graph.nodes:
        args = node.args
        rates = [entry.rate for entry in dropout if matches(entry.layer, node)] if node in layers else []
        if rates and rates[-1] > 0:
            type_ = graph.types[node.args[0]]
            if not type_.is_float:
                raise fail("cannot-tune", f"dropout before %{node.name}: its input is {type_}, not floats", node.loc)
            drop = Dropout(rates[-1] * density(graph, node) ** 0.5, generator)
            nodes.append(Node(f"{node.name}.dropout", drop, node.args[:1], type_, node.loc))
            args = (nodes[-1].name, *node.args[1:])
        op = BatchNormInTraining(node.op.eps) if isinstance(node.op, BatchNorm) else node.op
        nodes.append(replace(node, op=op, args=args))
    return replace(graph, nodes=tuple(nodes))


def density(graph: Graph, layer: Node) -> float:
    """Return which part of a layer's weights is not 0."""
    return float((_constant_value(graph, layer.args[1]) != 0).double().mean())


def _constant_value(graph: Graph, name: str) -> Tensor:
    """What constants alone make of a value."""
    if name in graph.const:
        return graph.const[name].data
    node = graph.node[name]
    with torch.no_grad():
        return node.op.evaluate(*(_constant_value(graph, arg).to(torch.float32) for arg in node.args))


def moved(x: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Return images [N, C, H, W] moved by one random offset of up to `pixels` each way; 0 comes in from the border."""
    if pixels == 0:
        return x
    down, right = torch.randint(2 * pixels + 1, (2,), generator=generator).tolist()
    padded = F.pad(x, [pixels] * 4)
    return padded[:, :, down : down + x.shape[2], right : right + x.shape[3]]
