"""The textual form of a Graph: one line a value. `parse_graph(print_graph(g), tensors)` gives the same graph.

graph tiny
%x = input : f32[1,4]
%w = const : f32[2,4]
%y = linear(%x, %w) : f32[1,2] @ "model.py":12 "fc"
%z = requantise(%y) {number="u8.f4", shift=[7]} : u8.f4[1,2]
return %z
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from torch import Tensor

from .diagnostics import Location, ToolError, fail
from .graph import Const, Graph, Input, Node, verify
from .ops import OPS
from .spec import from_plain, to_plain
from .types import parse_type

_NAME = r"%([A-Za-z0-9_.\-]+)"
_HEADER = re.compile(r"graph (\S+)")
_LEAF = re.compile(_NAME + r" = (input|const) : (\S+)")
_NODE = re.compile(_NAME + r" = ([a-z0-9_]+)\(([^()]*)\)(.*)")
_TAIL = re.compile(r' : (\S+?)(?: @ "([^"]*)":(\d{1,9}) "([^"]*)")?')
_OPS = {op.name: op for op in OPS}


def print_graph(graph: Graph) -> str:
    """Return the text of `graph`; the data of constants is not part of it."""
    lines = [f"graph {graph.name}"]
    lines += [f"%{value.name} = input : {value.type}" for value in graph.inputs]
    lines += [f"%{value.name} = const : {value.type}" for value in graph.consts]
    lines += [print_node(node) for node in graph.nodes]
    lines.append("return " + ", ".join(f"%{name}" for name in graph.outputs))
    return "\n".join(lines) + "\n"


def print_node(node: Node) -> str:
    """Return the line of one node."""
    attributes = ", ".join(
        f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in to_plain(node.op).items()
    )
    args = ", ".join(f"%{arg}" for arg in node.args)
    text = f"%{node.name} = {node.op.name}({args})" + (f" {{{attributes}}}" if attributes else "") + f" : {node.type}"
    loc = node.loc
    return text if loc == Location() else text + f' @ "{loc.file}":{loc.line} "{loc.module}"'


def parse_graph(text: str, tensors: Mapping[str, Tensor]) -> Graph:
    """Read a verified Graph; `tensors` gives each constant's data. Raises ToolError `graph-syntax`."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or not (header := _HEADER.fullmatch(lines[0][1])):
        raise fail("graph-syntax", "line 1: expected 'graph NAME'")
    inputs: list[Input] = []
    consts: list[Const] = []
    nodes: list[Node] = []
    for number, line in lines[1:-1]:
        if match := _LEAF.fullmatch(line):
            if match[2] == "input":
                inputs.append(Input(match[1], parse_type(match[3])))
            elif match[1] in tensors:
                consts.append(Const(match[1], parse_type(match[3]), tensors[match[1]]))
            else:
                raise fail("graph-syntax", f"line {number}: no data for the constant %{match[1]}")
        elif match := _NODE.fullmatch(line):
            nodes.append(_parse_node(match, number))
        else:
            raise fail("graph-syntax", f"line {number}: cannot read {line[:80]!r}")
    outputs = tuple(re.findall(_NAME, lines[-1][1])) if lines[-1][1].startswith("return ") else ()
    return verify(Graph(header[1], tuple(inputs), tuple(consts), tuple(nodes), outputs))


def _parse_node(match: re.Match[str], number: int) -> Node:
    name, op_name, args, rest = match.groups()
    if op_name not in _OPS:
        raise fail("graph-syntax", f"line {number}: unknown operation {op_name!r}")
    attributes: dict[str, object] = {}
    if rest.startswith(" {"):
        attributes, rest = _parse_attributes(rest[2:], number)
    tail = _TAIL.fullmatch(rest)
    if tail is None:
        raise fail("graph-syntax", f"line {number}: expected ' : TYPE' after the operation, not {rest[:80]!r}")
    loc = Location(tail[2], int(tail[3]), tail[4]) if tail[2] is not None else Location()
    op = from_plain(_OPS[op_name], attributes, f"line {number}: {op_name}")
    return Node(name, op, tuple(re.findall(_NAME, args)), parse_type(tail[1]), loc)


def _parse_attributes(text: str, number: int) -> tuple[dict[str, object], str]:
    """Read `key=JSON, key=JSON}` and return the attributes and what follows the brace."""
    decoder = json.JSONDecoder()
    attributes: dict[str, object] = {}
    while match := re.match(r"(?:, )?([a-z_0-9]+)=", text):
        try:
            attributes[match[1]], end = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            raise _bad_attributes(text, number) from None
        text = text[end:]
    if not text.startswith("}"):
        raise _bad_attributes(text, number)
    return attributes, text[1:]


def _bad_attributes(text: str, number: int) -> ToolError:
    return fail("graph-syntax", f"line {number}: cannot read the attributes at {text[:80]!r}")
