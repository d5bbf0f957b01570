"""What of a float graph has an integer form, and the rewriting that gives one to a scale and shift."""

from __future__ import annotations

import math

from bitkiln.ir import Builder, Diagnostic, Graph, Node, TensorType, ToolError, fail
from bitkiln.ir.ops import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Div,
    Linear,
    Mul,
    Pad,
    Relu,
    Reshape,
    ScaleShift,
    TopK,
)

from ._activations import MOVES, is_supported_clip
from ._functions import host_tail, is_function, is_product
from ._shared import unshare


def has_codes(graph: Graph) -> bool:
    """True if some value is no float; the index that an arg-max of floats gives does not count."""
    return any(
        not type_.is_float
        for name, type_ in graph.types.items()
        if not (name in graph.node and isinstance(graph.node[name].op, TopK))
    )


def check_quantisable(graph: Graph) -> None:
    """Raise ToolError with one `unsupported-op` for every node that has no integer form, or `already-quantised`."""
    graph = unshare(graph)
    if has_codes(graph):
        raise fail(
            "already-quantised",
            f"{graph.name} is fixed point already",
            hint="put quantise only once into [passes]",
        )
    tail = host_tail(graph)
    findings = [finding for node in graph.nodes if node.name not in tail and (finding := _finding(graph, node))]
    if findings:
        raise ToolError(*findings)


def _finding(graph: Graph, node: Node) -> Diagnostic | None:
    if is_function(graph, node) or is_product(graph, node):
        return None
    why, hint = _obstacle(graph, node)
    if not why:
        return None
    return Diagnostic("unsupported-op", f"%{node.name}: {why}", node.loc, hint)


def _obstacle(graph: Graph, node: Node) -> tuple[str, str]:
    """Why the node has no integer form, and the way round it; empty if it has one."""
    is_const = [arg in graph.const for arg in node.args]
    match node.op:
        case Linear() | Conv2d() | ScaleShift():
            if is_const[0] or not all(is_const[1:]):
                return f"{node.op.name} needs constant weights and an input that is none", ""
            return "", ""
        case BatchNorm():
            hint = "put canonicalise before quantise: it folds batch norm into the layer before it"
            return "batch_norm has no integer form", hint
        case AdaptiveAvgPool2d():
            hint = "make the input's height and width multiples of the output's: then it is an average pooling"
            return "adaptive_avg_pool2d has no integer form, because its windows differ in size", hint
        case Add() | Mul() | Div() | Concat() if any(is_const):
            return f"{node.op.name} of a constant has no integer form", "add constants as a layer's bias"
        case AvgPool2d():
            return pool_obstacle(graph, node, node.op)
        case Clip() if not is_supported_clip(node.op):
            limits = f"clip from {node.op.lo:g} to {node.op.hi:g} has no integer form"
            return f"{limits}: it must go from 0 or minus a power of two to a number that is not negative", ""
        case Pad(value=value) if value != 0:
            return f"pad with {value:g} has no integer form; only with 0", ""
        case op if isinstance(op, (*MOVES, Clip, Relu, Add, Concat, TopK)):
            return "", ""
        case _:
            hint = "say it with operations that units take (`bitkiln list ops`), or compute it on the host"
            return f"{node.op.name} has no integer form", hint


def pool_obstacle(graph: Graph, node: Node, op: AvgPool2d) -> tuple[str, str]:
    """Why the windows of an average pooling have no common divisor, and the way round it; empty if they have."""
    if op.divisor is not None:
        return "", ""
    if not op.count_include_pad and any(op.padding):
        return (
            "avg_pool2d with padding that does not count divides the windows at the edge by other numbers",
            "set count_include_pad=True, or padding=0",
        )
    x, y = graph.types[node.args[0]].shape, node.type.shape
    for axis in (0, 1):
        reach = (y[2 + axis] - 1) * op.stride[axis] + op.kernel[axis]
        if reach > x[2 + axis] + 2 * op.padding[axis]:
            return (
                "avg_pool2d with ceil_mode has windows that reach over the edge and are divided by other numbers",
                "set ceil_mode=False",
            )
    return "", ""


def expand_scale_shift(graph: Graph) -> Graph:
    """Return the graph with every scale_shift as a depthwise 1x1 convolution; its constants keep their names."""
    scales = {node.args[1] for node in graph.nodes if isinstance(node.op, ScaleShift)}
    if not scales:
        return graph
    build = Builder(graph.name)
    for value in graph.inputs:
        build.input(value.name, value.type)
    for const in graph.consts:
        shape = (*const.type.shape, 1, 1, 1) if const.name in scales else const.type.shape
        build.constant(const.name, TensorType(shape, const.type.number), const.data.reshape(shape))
    names = {name: name for name in build.types}
    for node in graph.nodes:
        args = tuple(names[arg] for arg in node.args)
        if isinstance(node.op, ScaleShift):
            names[node.name] = _depthwise(build, node, args)
        else:
            names[node.name] = build.add(node.op, args, node.name, node.loc)
    return build.graph([names[name] for name in graph.outputs])


def _depthwise(build: Builder, node: Node, args: tuple[str, ...]) -> str:
    x, scale, shift = args
    shape = node.type.shape
    convolve = Conv2d(groups=shape[1])
    if len(shape) == 4:
        return build.add(convolve, (x, scale, shift), node.name, node.loc)
    image = Reshape((1, shape[1], math.prod(shape[2:]), 1))
    x = build.add(image, (x,), f"{node.name}_image", node.loc)
    y = build.add(convolve, (x, scale, shift), node.name, node.loc)
    return build.add(Reshape(shape), (y,), f"{node.name}_shape", node.loc)
