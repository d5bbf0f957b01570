"""Functions between codes: which operations on floats become a table or a product, and what the host computes last."""

from __future__ import annotations

from bitkiln.ir import Graph, Node
from bitkiln.ir.ops import (
    Add,
    Clip,
    Dequantise,
    Div,
    Elu,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    LogSoftmax,
    Mish,
    Mul,
    Relu,
    Reshape,
    ScaleShift,
    Sigmoid,
    Silu,
    Softmax,
    Softplus,
    Tanh,
)

POSITIVE = (Sigmoid, HardSigmoid, Softplus)
"""Functions that are never negative; the others are not where their argument is not, and 0 at 0."""

TABLES = (*POSITIVE, Tanh, Silu, HardSwish, Gelu, LeakyRelu, Elu, Mish)
"""Functions of one element and nothing else."""

LAST = (*TABLES, Softmax, LogSoftmax)
"""What need not be codes where nothing but the output follows."""

HOST_AFTER = (Dequantise, Reshape, ScaleShift, Add, Mul, Div, Clip, Relu, *LAST)
"""What the host computes in floats after the last codes."""


def is_function(graph: Graph, node: Node) -> bool:
    """True if each element of the result depends on the same element of one value that is no constant."""
    is_const = [arg in graph.const for arg in node.args]
    match node.op:
        case Mul() | Add() | Div():
            constants = [graph.types[arg] for arg in node.args if arg in graph.const]
            is_divisor = not isinstance(node.op, Div) or is_const == [False, True]
            return len(constants) == 1 and constants[0].elements == 1 and is_divisor
        case op:
            return isinstance(op, TABLES) and not any(is_const)


def is_product(graph: Graph, node: Node) -> bool:
    """True if two values are multiplied, neither of which is a constant."""
    return isinstance(node.op, Mul) and not any(arg in graph.const for arg in node.args)


def is_never_negative(graph: Graph, node: Node, is_signed: bool) -> bool:
    """True if the function or product gives no negative values for arguments that may be negative if `is_signed`."""
    if isinstance(node.op, POSITIVE):
        return True
    constants = [graph.const[arg].data for arg in node.args if arg in graph.const]
    return not is_signed and all(bool((data >= 0).all()) for data in constants)


def host_tail(graph: Graph) -> frozenset[str]:
    """Return the values behind the last one that must be codes: each from a function like softmax to the output."""
    tail: set[str] = set()
    for output in graph.outputs:
        chain: list[Node] = []
        node = graph.node.get(output)
        while node is not None and _may_follow(graph, node, chain):
            chain.append(node)
            node = next((graph.node.get(arg) for arg in node.args if arg not in graph.const), None)
        while chain and not isinstance(chain[-1].op, LAST):
            chain.pop()
        tail.update(member.name for member in chain)
    return frozenset(tail)


def _may_follow(graph: Graph, node: Node, chain: list[Node]) -> bool:
    is_read_by_chain_only = len(graph.users[node.name]) == (1 if chain else 0)
    has_one_source = sum(arg not in graph.const for arg in node.args) == 1
    return is_read_by_chain_only and has_one_source and isinstance(node.op, HOST_AFTER)
