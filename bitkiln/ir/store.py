"""Graphs on disk: one safetensors file whose JSON header holds the graph's text. Never pickle."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .diagnostics import fail
from .graph import Graph
from .text import parse_graph, print_graph

FORMAT = "bitkiln-graph 1"


def save_graph(graph: Graph, path: Path) -> None:
    """Write `graph` to `path`, whole or not at all."""
    tensors = {const.name: const.data.detach().contiguous().clone() for const in graph.consts}
    write_whole(path, save(tensors, {"format": FORMAT, "graph": print_graph(graph)}))


def load_graph(path: Path) -> Graph:
    """Read a graph written by `save_graph`; raises ToolError `missing-file` or `bad-graph-file`."""
    if not path.is_file():
        raise fail("missing-file", f"{path} is no file", hint="bitkiln import MODEL -o FILE writes a graph")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise fail("bad-graph-file", f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no dict
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise fail("bad-graph-file", f"{path} cannot be read: {error}") from None
    return parse_graph(metadata.get("graph", ""), tensors)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside `path`, then rename it: readers see all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
