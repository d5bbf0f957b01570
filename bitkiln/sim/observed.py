"""The values that the layers of a network see when it computes real samples: nothing has to be drawn then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bitkiln.ir import Graph, evaluate, fail
from bitkiln.ir.ops import Conv2d, Linear

from .workload import Layer, Values, Workload


def with_activations(workload: Workload, graph: Graph, samples: Tensor) -> Workload:
    """Return the layers of `graph` with their inputs for the first `workload.batch` of `samples`.

    Layers whose two operands are computed have none. Raises `too-few-samples`, and `input-mismatch` if the samples have
    another shape than the network's input.
    """
    if len(samples) < workload.batch:
        raise fail("too-few-samples", f"a batch of {workload.batch} needs as many samples, not {len(samples)}")
    wanted = tuple(dict.fromkeys(name for layer in workload.layers if (name := _input(graph, layer))))
    with torch.no_grad():
        values = evaluate(replace(graph, outputs=wanted), samples[: workload.batch])
    seen = dict(zip(wanted, values, strict=True))
    layers = [replace(layer, activations=_values(graph, layer, seen)) for layer in workload.layers]
    return replace(workload, layers=tuple(layers))


def _input(graph: Graph, layer: Layer) -> str | None:
    node = graph.node.get(layer.name)
    return node.args[0] if node is not None and isinstance(node.op, Conv2d | Linear) else None


def _values(graph: Graph, layer: Layer, seen: dict[str, Tensor]) -> Values | None:
    """[images, channels, height, width]; the rows of a matrix product are the height."""
    name = _input(graph, layer)
    if name is None:
        return None
    x = seen[name]
    if isinstance(graph.node[layer.name].op, Linear):
        x = x.reshape(layer.batch, layer.height, layer.channels).transpose(1, 2).unsqueeze(-1)
    return np.ascontiguousarray(x.float().numpy())
