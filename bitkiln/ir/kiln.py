"""Graphs in `.kiln` containers, the compressed form on disk: the same graph as a graph file, in fewer bytes.

What is in the file, and how it is read without torch, is the business of `bitkiln.ir.coding`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import assert_never

import torch

from .coding import MAX_TEXT_BYTES, DamagedFileError, Record, StoredTensor, read_kiln, write_kiln
from .diagnostics import ToolError, fail
from .graph import Const, Graph
from .numbers import Bipolar, Codebook, Float, Int, Number, Ternary
from .text import parse_graph, print_graph


def encode_kiln(graph: Graph) -> bytes:
    """Return the container's bytes, whose number is what reports call stored bytes.

    Raises ToolError `too-large` for a graph whose text alone has more than 16 MiB.
    """
    return _written(graph)[0]


def stored_records(graph: Graph) -> dict[str, Record]:
    """Return how each constant is stored in the container, by name."""
    return encode_with_records(graph)[1]


def encode_with_records(graph: Graph) -> tuple[bytes, dict[str, Record]]:
    """Return both: the container's bytes, and how each constant is stored there."""
    content, records = _written(graph)
    return content, {const.name: record for const, record in zip(graph.consts, records, strict=True)}


def decode_kiln(data: bytes, where: str) -> Graph:
    """Return the graph in a container's bytes; raises ToolError `bad-kiln-file`, headed by `where`."""
    try:
        container = read_kiln(data)
    except DamagedFileError as error:
        raise fail("bad-kiln-file", f"{where} cannot be read: {error}") from None
    tensors = {name: torch.from_numpy(stored.data) for name, stored in container.tensors.items()}
    try:
        return parse_graph(container.text, tensors)
    except ToolError as error:
        found = error.prefixed(where).diagnostics
        raise ToolError(*(replace(finding, slug="bad-kiln-file") for finding in found)) from None


def load_kiln(path: Path) -> Graph:
    """Read a container; raises ToolError `missing-file` or `bad-kiln-file`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise fail("missing-file", f"{path} is no file", hint="bitkiln compress -o FILE.kiln writes one") from None
    except OSError as error:
        raise fail("bad-kiln-file", f"{path} cannot be read: {error.strerror or error}") from None
    return decode_kiln(data, str(path))


def _written(graph: Graph) -> tuple[bytes, tuple[Record, ...]]:
    text = print_graph(graph)
    if len(text) > MAX_TEXT_BYTES:
        message = f"the text of {graph.name} has {len(text)} bytes; a container takes at most {MAX_TEXT_BYTES}"
        raise fail("too-large", message, hint="write a graph file, without .kiln")
    return write_kiln(text, [_stored(const) for const in graph.consts], graph.packing)


def _stored(const: Const) -> StoredTensor:
    width, is_signed = _width(const.type.number)
    return StoredTensor(const.data.detach().contiguous().numpy(), width, is_signed)


def _width(number: Number) -> tuple[int, bool]:
    """Bits of a stored element, and whether they are two's complement."""
    match number:
        case Int(bits, signed):
            return bits, signed
        case Ternary():
            return number.bits, True
        case Float() | Bipolar() | Codebook():
            return number.bits, False
        case _ as never:
            assert_never(never)
