"""The Graph: typed single-assignment nodes in topological order. Immutable; passes build a new one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from .coding.tensor import SMALLEST, Packing
from .diagnostics import Diagnostic, Location, ToolError, fail
from .numbers import Float, code_limits
from .ops import Op
from .types import TensorType, storage_dtype

NAME = re.compile(r"[A-Za-z0-9_.\-]+")


@dataclass(frozen=True)
class Input:
    """A value that `evaluate` is given, with a batch in axis 0."""

    name: str
    type: TensorType


@dataclass(frozen=True, eq=False)
class Const:
    """A named tensor: values for float formats, codes for the others, in `storage_dtype`. Never written to."""

    name: str
    type: TensorType
    data: Tensor

    @cached_property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest code that occurs."""
        low, high = self.data.aminmax()
        return int(low), int(high)

    @cached_property
    def row_sums(self) -> tuple[Tensor, Tensor]:
        """Sums of the positive and of the negative codes of each row of axis 0, as int64."""
        return row_sums(self.data)


@dataclass(frozen=True)
class Node:
    """One operation applied to earlier values; `name` is the value it defines."""

    name: str
    op: Op
    args: tuple[str, ...]
    type: TensorType
    loc: Location = Location()


@dataclass(frozen=True, eq=False)
class Graph:
    """inputs, constants and nodes define values by name; `outputs` are the names that count.

    `packing` says how a container stores the constants; it changes no value.
    """

    name: str
    inputs: tuple[Input, ...]
    consts: tuple[Const, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    packing: Packing = SMALLEST

    @cached_property
    def types(self) -> Mapping[str, TensorType]:
        """Type of every value."""
        values: tuple[Input | Const | Node, ...] = (*self.inputs, *self.consts, *self.nodes)
        return {value.name: value.type for value in values}

    @cached_property
    def const(self) -> Mapping[str, Const]:
        return {const.name: const for const in self.consts}

    @cached_property
    def node(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def users(self) -> Mapping[str, tuple[Node, ...]]:
        """Nodes that read each value, once per argument position, in order."""
        users: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for arg in node.args:
                users[arg].append(node)
        return {name: tuple(nodes) for name, nodes in users.items()}

    @property
    def params(self) -> int:
        """Elements of all constants."""
        return sum(const.type.elements for const in self.consts)

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of one node for one sample."""
        return node.op.macs(*(self.types[arg] for arg in node.args))

    @property
    def total_macs(self) -> int:
        return sum(self.macs(node) for node in self.nodes)

    def arg_types(self, node: Node) -> tuple[TensorType, ...]:
        return tuple(self.types[arg] for arg in node.args)


def verify(graph: Graph) -> Graph:
    """Return `graph` if it is well formed, else raise ToolError with every finding.

    Slugs: `type-mismatch` where an operation's arguments do not fit, `bad-shape`, `number-range` and
    `accumulator-too-wide` where no type can hold its result, else `invalid-graph`. A verified graph of finite values
    evaluates without errors for every batch.
    """
    findings = _check_names(graph)
    leaves: tuple[Input | Const, ...] = (*graph.inputs, *graph.consts)
    known = {value.name: value.type for value in leaves}
    findings += [finding for value in graph.inputs for finding in _check_input(value)]
    findings += [finding for const in graph.consts for finding in _check_const(const)]
    activations = {value.name for value in graph.inputs}
    for node in graph.nodes:
        findings += _check_node(node, known) or _check_batch(node, known, activations)
        known[node.name] = node.type
        if not activations.isdisjoint(node.args):
            activations.add(node.name)
    findings += [
        Diagnostic("invalid-graph", f"output %{name} is not defined") for name in graph.outputs if name not in known
    ]
    if not graph.outputs:
        findings.append(Diagnostic("invalid-graph", "the graph has no output"))
    if findings:
        raise ToolError(*findings)
    return graph


def _check_names(graph: Graph) -> list[Diagnostic]:
    """Names are unique and can be printed and parsed."""
    findings: list[Diagnostic] = []
    if not NAME.fullmatch(graph.name):
        message = f"the graph's name has letters, digits, '_', '.' and '-', not {graph.name[:80]!r}"
        findings.append(Diagnostic("invalid-graph", message))
    seen: set[str] = set()
    values: tuple[Input | Const | Node, ...] = (*graph.inputs, *graph.consts, *graph.nodes)
    for value in values:
        loc = value.loc if isinstance(value, Node) else Location()
        if value.name in seen:
            findings.append(Diagnostic("invalid-graph", f"%{value.name} is defined twice", loc))
        if not NAME.fullmatch(value.name):
            message = f"a name has letters, digits, '_', '.' and '-', not {value.name[:80]!r}"
            findings.append(Diagnostic("invalid-graph", message, loc))
        seen.add(value.name)
    return findings


def _check_input(value: Input) -> list[Diagnostic]:
    if value.type.shape[:1] != (1,):
        message = f"the input %{value.name} needs a batch axis of 1 first, but is {value.type}"
        return [Diagnostic("invalid-graph", message)]
    return []


def _check_const(const: Const) -> list[Diagnostic]:
    message = ""
    expected, number = storage_dtype(const.type.number), const.type.number
    if tuple(const.data.shape) != const.type.shape:
        message = f"%{const.name} is {const.type} but its data has shape {list(const.data.shape)}"
    elif const.data.dtype != expected:
        message = f"%{const.name} of {const.type} must be stored as {expected}, not {const.data.dtype}"
    elif not isinstance(number, Float):
        least, most = const.code_range
        lo, hi = code_limits(number)
        if least < lo or most > hi:
            message = f"%{const.name} of {const.type} must have codes from {lo} to {hi}, not {least} to {most}"
    return [Diagnostic("invalid-graph", message)] if message else []


def _check_batch(node: Node, known: Mapping[str, TensorType], activations: set[str]) -> list[Diagnostic]:
    """What depends on an input has its batch in axis 0: the operation must keep it there."""
    dependent = [arg in activations for arg in node.args]
    if not any(dependent):
        return []
    allowed = node.op.batched(*(known[arg] for arg in node.args))
    for arg, is_dependent, is_allowed in zip(node.args, dependent, allowed, strict=True):
        if is_dependent and not is_allowed:
            message = f"%{node.name}: argument %{arg} of {node.op.name} depends on an input, but must be constant here"
            return [Diagnostic("type-mismatch", message, node.loc)]
    if node.type.shape[:1] != (1,):
        message = f"%{node.name} depends on an input and needs a batch axis of 1 first, but is {node.type}"
        return [Diagnostic("type-mismatch", message, node.loc)]
    return []


def _check_node(node: Node, known: Mapping[str, TensorType]) -> list[Diagnostic]:
    findings = [
        Diagnostic("invalid-graph", f"%{node.name} uses %{arg}, which is not defined before it", node.loc)
        for arg in node.args
        if arg not in known
    ]
    if findings:
        return findings
    try:
        inferred = node.op.infer(*(known[arg] for arg in node.args))
    except ToolError as error:
        return [
            replace(finding, message=f"%{node.name}: {finding.message}", location=node.loc)
            for finding in error.diagnostics
        ]
    if inferred != node.type:
        return [
            Diagnostic(
                "type-mismatch",
                f"%{node.name} has type {node.type}, but {node.op.name} gives {inferred}",
                node.loc,
            )
        ]
    return []


@dataclass
class Builder:
    """Collects values for a new Graph; names are made printable and unique, types are inferred.

    >>> build = Builder("tiny")
    >>> x = build.input("x", TensorType((1, 4), Float()))
    >>> y = build.add(Relu(), (x,), "y")
    >>> graph = build.graph((y,))
    """

    name: str
    inputs: list[Input] = field(default_factory=list)
    consts: list[Const] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)

    def input(self, name: str, type_: TensorType) -> str:
        self.inputs.append(Input(self._define(name, type_), type_))
        return self.inputs[-1].name

    def constant(self, name: str, type_: TensorType, data: Tensor) -> str:
        """Add a constant; `data` must have `storage_dtype(type_.number)` and is kept without a copy."""
        self.consts.append(Const(self._define(name, type_), type_, data))
        return self.consts[-1].name

    def add(self, op: Op, args: tuple[str, ...], name: str, loc: Location = Location()) -> str:
        """Append a node and return its name, which is `name` or `name_2`, ... if that is taken."""
        try:
            type_ = op.infer(*(self.types[arg] for arg in args))
        except ToolError as error:
            raise ToolError(*(replace(finding, location=loc) for finding in error.diagnostics)) from None
        self.nodes.append(Node(self._define(name, type_), op, args, type_, loc))
        return self.nodes[-1].name

    def graph(self, outputs: Iterable[str]) -> Graph:
        """Return the verified Graph without the nodes and constants that no output needs; inputs all stay."""
        name = _printable(self.name) or "graph"
        return verify(
            prune_dead(Graph(name, tuple(self.inputs), tuple(self.consts), tuple(self.nodes), tuple(outputs)))
        )

    def _define(self, name: str, type_: TensorType) -> str:
        stem = _printable(name) or "value"
        unique, number = stem, 2
        while unique in self.types:
            unique, number = f"{stem}_{number}", number + 1
        self.types[unique] = type_
        return unique


def _printable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name)


def row_sums(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of the positive and of the negative elements of each row of axis 0, as int64."""
    rows = codes.reshape(codes.shape[0], -1)
    positive = rows.clamp(min=0).sum(1, dtype=torch.int64)
    return positive, rows.sum(1, dtype=torch.int64) - positive


def prune_dead(graph: Graph) -> Graph:
    """Return the graph without nodes and constants that no output depends on."""
    needed = set(graph.outputs)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.args)
            nodes.append(node)
    consts = tuple(const for const in graph.consts if const.name in needed)
    return replace(graph, consts=consts, nodes=tuple(reversed(nodes)))


def check_finite(graph: Graph) -> None:
    """Raise ToolError `not-finite` that names every constant with NaN or infinite values."""
    bad: list[Diagnostic] = []
    for const in graph.consts:
        count = const.type.elements - int(torch.isfinite(const.data).sum())
        if count:
            message = f"{const.name} has {count} NaN or infinite values of {const.type.elements}"
            hint = "train again with a lower learning rate, or load another checkpoint"
            bad.append(Diagnostic("not-finite", message, hint=hint))
    if bad:
        raise ToolError(*bad)


def single_input(graph: Graph) -> Input:
    """Return the only input, or raise ToolError `many-inputs`."""
    if len(graph.inputs) != 1:
        raise fail("many-inputs", f"{graph.name} has {len(graph.inputs)} inputs; exactly one is supported here")
    return graph.inputs[0]
