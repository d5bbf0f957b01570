"""The golden model: run a Graph. Floats compute values, fixed point computes exact codes; the same loop does both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from .diagnostics import fail
from .graph import Graph
from .numbers import Int
from .ranges import exact_dtype, is_quantised


def evaluate(graph: Graph, *inputs: Tensor, consts: Mapping[str, Tensor] | None = None) -> tuple[Tensor, ...]:
    """Return the outputs for a batch: `inputs` have the graph's shapes with any one size in axis 0.

    Fixed-point values are codes, carried in the smallest float dtype in which the whole graph is exact (checked), or in
    float64 if the caller's inputs are; so are the outputs. A graph of floats runs in float32, or in float64 if some
    input is. `consts` replaces constants by tensors of the same shape (training passes its shadow weights here); for
    these, the caller sees to it that codes stay in their format and sums near those of the constants they replace.
    Raises ToolError `input-mismatch` (shapes, or codes outside an input's format) and `accumulator-too-wide`.
    """
    _check_inputs(graph, inputs)
    dtype = evaluation_dtype(graph, inputs)
    replaced = consts or {}
    for name, data in replaced.items():
        assert data.shape == graph.const[name].type.shape, f"%{name} is replaced by a tensor of {list(data.shape)}"
    values: dict[str, Tensor] = {value.name: x.to(dtype) for value, x in zip(graph.inputs, inputs, strict=True)}
    for const in graph.consts:
        values[const.name] = replaced.get(const.name, const.data).to(dtype)
    last_use = {arg: node.name for node in graph.nodes for arg in node.args}
    with _plain_arithmetic():
        for node in graph.nodes:
            values[node.name] = node.op.evaluate(*(values[arg] for arg in node.args))
            for arg in set(node.args):
                if last_use[arg] == node.name and arg not in graph.outputs:
                    del values[arg]
    return tuple(values[name] for name in graph.outputs)


@contextmanager
def _plain_arithmetic() -> Iterator[None]:
    """Products and sums as they are written: no bfloat16 (autocast), no Winograd transforms (NNPACK)."""
    with torch.autocast("cpu", enabled=False), torch.backends.nnpack.flags(enabled=False):
        yield


def evaluate_batches(graph: Graph, inputs: Tensor, batch: int = 256) -> Tensor:
    """Return the first output for many samples (also none), computed in batches without gradients."""
    starts = range(0, max(1, len(inputs)), batch)
    with torch.no_grad():
        return torch.cat([evaluate(graph, inputs[i : i + batch])[0] for i in starts])


def evaluation_dtype(graph: Graph, inputs: tuple[Tensor, ...]) -> torch.dtype:
    """Return the dtype that `evaluate` computes in."""
    floats = [x.dtype for x in inputs if x.is_floating_point()]
    wanted = torch.float64 if torch.float64 in floats else torch.float32
    return torch.promote_types(wanted, exact_dtype(graph)) if is_quantised(graph) else wanted


def _check_inputs(graph: Graph, inputs: tuple[Tensor, ...]) -> None:
    if len(inputs) != len(graph.inputs):
        raise fail("input-mismatch", f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    for value, x in zip(graph.inputs, inputs, strict=True):
        if x.dim() != len(value.type.shape) or tuple(x.shape[1:]) != value.type.shape[1:]:
            raise fail(
                "input-mismatch",
                f"input %{value.name} takes samples of shape {list(value.type.shape[1:])} behind a batch axis, "
                f"not a tensor of {list(x.shape)}",
            )
        if isinstance(value.type.number, Int):
            _check_codes(value.name, value.type.number, x.detach())
    if len({x.shape[0] for x in inputs}) > 1:
        raise fail("input-mismatch", f"all inputs need the same batch, not {[x.shape[0] for x in inputs]}")


def _check_codes(name: str, number: Int, x: Tensor) -> None:
    if x.numel() == 0:
        return
    least, most = (bound.item() for bound in x.aminmax())
    if not (number.lo <= least and most <= number.hi):  # NaN is outside, too
        raise fail(
            "input-mismatch",
            f"input %{name} takes codes of {number} from {number.lo} to {number.hi}, not {least} to {most}",
        )
    if x.is_floating_point() and bool((x != torch.floor(x)).any()):
        raise fail("input-mismatch", f"input %{name} takes whole codes of {number}, not fractions")
