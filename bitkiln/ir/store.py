"""Graphs on disk: a safetensors file whose JSON header holds the graph's text, or a `.kiln` container. Never pickle."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .coding import MAGIC, is_kiln
from .diagnostics import ToolError, fail
from .graph import Graph
from .kiln import encode_kiln, load_kiln
from .text import parse_graph, print_graph

FORMAT = "bitkiln-graph 1"
KILN_SUFFIX = ".kiln"
# The only key of the header's metadata: safetensors writes several in any order, and equal graphs have equal files.
_KEY = "bitkiln"


def save_graph(graph: Graph, path: Path) -> None:
    """Write `graph` to `path`, whole or not at all, as a container if it ends in `.kiln`.

    Raises ToolError `cannot-write`.
    """
    if path.suffix == KILN_SUFFIX:
        write_whole(path, encode_kiln(graph))
        return
    tensors = {const.name: const.data.detach().contiguous().clone() for const in graph.consts}
    write_whole(path, save(tensors, {_KEY: f"{FORMAT}\n{print_graph(graph)}"}))


def load_graph(path: Path) -> Graph:
    """Read a graph written by `save_graph`, in either form; raises ToolError `missing-file`, `bad-graph-file` or
    `bad-kiln-file`."""
    try:
        if not path.is_file():
            raise fail("missing-file", f"{path} is no file", hint="bitkiln import MODEL -o FILE writes a graph")
        if path.suffix == KILN_SUFFIX or _begins_as_kiln(path):
            return load_kiln(path)
        text, tensors = _read(path)
    except (SafetensorError, OSError) as error:
        raise fail("bad-graph-file", f"{path} cannot be read: {error}") from None
    found, _, graph = text.partition("\n")
    if found != FORMAT:
        raise fail("bad-graph-file", f"{path} has format {found[:80]!r}, expected {FORMAT!r}")
    try:
        return parse_graph(graph, tensors)
    except ToolError as error:
        raise ToolError(
            *(replace(finding, slug="bad-graph-file") for finding in error.prefixed(str(path)).diagnostics)
        ) from None


def _begins_as_kiln(path: Path) -> bool:
    with path.open("rb") as file:
        return is_kiln(file.read(len(MAGIC)))


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The text and copies of the tensors: those of safetensors are the file's pages, and fault if it is truncated."""
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(_KEY, "")
        return text, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # safe_open is no dict


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside `path`, then rename it: readers see all of it or none.

    Raises ToolError `cannot-write` when the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bitkiln.", dir=path.parent) as beside:
            new = Path(beside) / "new"  # created with the user's umask, which mkstemp would not respect
            new.write_bytes(content)
            new.replace(path)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise fail("cannot-write", message, hint="check its permissions and the free space") from None
