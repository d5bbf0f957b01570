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
from types import MappingProxyType

from torch import Tensor

from .coding import MAX_GAP_BITS, MIN_GAP_BITS, SMALLEST, Packing
from .diagnostics import Location, ToolError, fail, known_names
from .graph import NAME, Const, Graph, Input, Node, verify
from .ops import OPS, Op
from .spec import from_plain, to_plain
from .types import TensorType, parse_type

_NAME = f"%({NAME.pattern})"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_HEADER = re.compile(rf"graph ({NAME.pattern})(?: \{{(.*))?")
_LEAF = re.compile(_NAME + r" = (input|const) : (\S+)")
_NODE = re.compile(_NAME + r" = ([a-z0-9_]+)\(([^()]*)\)(.*)")
_TAIL = re.compile(rf" : (\S+?)(?: @ ({_TEXT}):([0-9]{{1,9}}) ({_TEXT}))?")
_OPS: Mapping[str, type[Op]] = MappingProxyType({op.name: op for op in OPS})


def print_graph(graph: Graph) -> str:
    """Return the text of `graph`, in ASCII; the data of constants is not part of it."""
    lines = [f"graph {graph.name}{_printed(graph.packing) if graph.packing != SMALLEST else ''}"]
    lines += [f"%{value.name} = input : {value.type}" for value in graph.inputs]
    lines += [f"%{value.name} = const : {value.type}" for value in graph.consts]
    lines += [print_node(node) for node in graph.nodes]
    lines.append("return " + ", ".join(f"%{name}" for name in graph.outputs))
    return "\n".join(lines) + "\n"


def print_node(node: Node) -> str:
    """Return the line of one node."""
    args = ", ".join(f"%{arg}" for arg in node.args)
    text = f"%{node.name} = {node.op.name}({args}){_printed(node.op)} : {node.type}"
    loc = node.loc
    return text if loc == Location() else text + f" @ {json.dumps(loc.file)}:{loc.line} {json.dumps(loc.module)}"


def _printed(attributes: Op | Packing) -> str:
    """` {key=JSON, ...}`, or nothing if there are none."""
    pairs = (f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in to_plain(attributes).items())
    text = ", ".join(pairs)
    return f" {{{text}}}" if text else ""


def parse_graph(text: str, tensors: Mapping[str, Tensor]) -> Graph:
    """Read a verified Graph; `tensors` gives each constant's data.

    Raises ToolError `graph-syntax`, what the attributes' types and operations say about them (`bad-value`,
    `unknown-key`, ...), or what `verify` finds.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines or not (header := _HEADER.fullmatch(lines[0][1])):
        raise fail("graph-syntax", "line 1: expected 'graph NAME'")
    inputs: list[Input] = []
    consts: list[Const] = []
    nodes: list[Node] = []
    for number, line in lines[1:-1]:
        if match := _LEAF.fullmatch(line):
            type_ = _parse_type(match[3], number)
            if match[2] == "input":
                inputs.append(Input(match[1], type_))
            elif match[1] in tensors:
                consts.append(Const(match[1], type_, tensors[match[1]]))
            else:
                raise fail("graph-syntax", f"line {number}: no data for the constant %{match[1]}")
        elif match := _NODE.fullmatch(line):
            nodes.append(_parse_node(match, number))
        else:
            raise fail("graph-syntax", f"line {number}: cannot read {line[:80]!r}")
    number, line = lines[-1]
    if not line.startswith("return "):
        raise fail("graph-syntax", f"line {number}: expected 'return %NAME, ...' at the end, not {line[:80]!r}")
    outputs = _parse_names(line.removeprefix("return "), number)
    packing = _parse_packing(header[2])
    return verify(Graph(header[1], tuple(inputs), tuple(consts), tuple(nodes), outputs, packing))


def _parse_packing(text: str | None) -> Packing:
    """Read what follows the graph's name, from behind the brace on."""
    if text is None:
        return SMALLEST
    attributes, rest = _parse_attributes(text, 1)
    if rest:
        raise fail("graph-syntax", f"line 1: expected nothing behind the brace, not {rest[:80]!r}")
    packing = from_plain(Packing, attributes, "line 1: graph")
    if packing.gap_bits is not None and not MIN_GAP_BITS <= packing.gap_bits <= MAX_GAP_BITS:
        message = f"line 1: gap_bits must be between {MIN_GAP_BITS} and {MAX_GAP_BITS}, not {packing.gap_bits}"
        raise fail("number-range", message)
    return packing


def _parse_node(match: re.Match[str], number: int) -> Node:
    name, op_name, args, rest = match.groups()
    if op_name not in _OPS:
        raise fail(
            "graph-syntax", f"line {number}: unknown operation {op_name[:80]!r}", hint=known_names(op_name[:80], _OPS)
        )
    attributes: dict[str, object] = {}
    if rest.startswith(" {"):
        attributes, rest = _parse_attributes(rest[2:], number)
    tail = _TAIL.fullmatch(rest)
    if tail is None:
        raise fail("graph-syntax", f"line {number}: expected ' : TYPE' after the operation, not {rest[:80]!r}")
    loc = Location()
    if tail[2] is not None:
        loc = Location(_parse_text(tail[2], number), int(tail[3]), _parse_text(tail[4], number))
    op = from_plain(_OPS[op_name], attributes, f"line {number}: {op_name}")
    return Node(name, op, _parse_names(args, number), _parse_type(tail[1], number), loc)


def _parse_names(text: str, number: int) -> tuple[str, ...]:
    """Read `%a, %b`, or nothing."""
    matches = [re.fullmatch(_NAME, part) for part in text.split(", ")] if text else []
    names = tuple(match[1] for match in matches if match)
    if len(names) != len(matches):
        raise fail("graph-syntax", f"line {number}: expected '%NAME, ...', not {text[:80]!r}")
    return names


def _parse_type(text: str, number: int) -> TensorType:
    try:
        return parse_type(text)
    except ToolError as error:
        raise error.prefixed(f"line {number}") from None


def _parse_text(quoted: str, number: int) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        raise fail("graph-syntax", f"line {number}: cannot read the text {quoted[:80]}") from None


def _parse_attributes(text: str, number: int) -> tuple[dict[str, object], str]:
    """Read `key=JSON, key=JSON}` and return the attributes and what follows the brace."""
    decoder = json.JSONDecoder()
    attributes: dict[str, object] = {}
    separator = ""
    while match := re.match(separator + r"([a-z_0-9]+)=", text):
        if match[1] in attributes:
            raise fail("graph-syntax", f"line {number}: the attribute {match[1][:80]!r} is given twice")
        try:
            attributes[match[1]], end = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            raise _bad_attributes(text, number) from None
        text, separator = text[end:], ", "
    if not text.startswith("}"):
        raise _bad_attributes(text, number)
    return attributes, text[1:]


def _bad_attributes(text: str, number: int) -> ToolError:
    return fail("graph-syntax", f"line {number}: cannot read the attributes at {text[:80]!r}")
