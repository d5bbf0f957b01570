"""The golden model: run a Graph. Floats compute values, fixed point computes exact codes; the same loop does both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .diagnostics import fail
from .graph import Graph
from .ranges import exact_dtype, is_quantised


def evaluate(graph: Graph, *inputs: Tensor, consts: Mapping[str, Tensor] | None = None) -> tuple[Tensor, ...]:
    """Return the outputs for a batch: `inputs` have the graph's shapes with any size in axis 0.

    Fixed-point values are codes, carried in the smallest float dtype in which the whole graph is exact (checked), or in
    float64 if the caller's inputs are. A graph of floats runs in the inputs' dtype. `consts` replaces constants by
    tensors of the same shape (training passes its shadow weights here).
    """
    _check_inputs(graph, inputs)
    dtype = evaluation_dtype(graph, inputs)
    values: dict[str, Tensor] = {value.name: x.to(dtype) for value, x in zip(graph.inputs, inputs, strict=True)}
    for const in graph.consts:
        values[const.name] = (consts or {}).get(const.name, const.data).to(dtype)
    last_use = {arg: node.name for node in graph.nodes for arg in node.args}
    for node in graph.nodes:
        values[node.name] = node.op.evaluate(*(values[arg] for arg in node.args))
        for arg in set(node.args):
            if last_use[arg] == node.name and arg not in graph.outputs:
                del values[arg]
    return tuple(values[name] for name in graph.outputs)


def evaluate_batches(graph: Graph, inputs: Tensor, batch: int = 256) -> Tensor:
    """Return the first output for many samples, computed in batches without gradients."""
    with torch.no_grad():
        return torch.cat([evaluate(graph, inputs[i : i + batch])[0] for i in range(0, len(inputs), batch)])


def evaluation_dtype(graph: Graph, inputs: tuple[Tensor, ...]) -> torch.dtype:
    """Return the dtype that `evaluate` computes in."""
    floats = [x.dtype for x in inputs if x.is_floating_point()]
    wanted = torch.float64 if torch.float64 in floats else torch.float32
    if not is_quantised(graph) or wanted == torch.float64:
        return wanted
    return exact_dtype(graph)


def _check_inputs(graph: Graph, inputs: tuple[Tensor, ...]) -> None:
    if len(inputs) != len(graph.inputs):
        raise fail("input-mismatch", f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    for value, x in zip(graph.inputs, inputs, strict=True):
        if tuple(x.shape[1:]) != value.type.shape[1:]:
            raise fail(
                "input-mismatch",
                f"input %{value.name} takes samples of shape {list(value.type.shape[1:])}, not {list(x.shape[1:])}",
            )
