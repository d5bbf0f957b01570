"""Which layers an entry of a recipe means: globs over names in the graph and module paths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from bitkiln.ir import Diagnostic, Graph, Node, ToolError, known_names
from bitkiln.ir.ops import Conv2d, ConvTranspose2d, Linear


def weighted_layers(graph: Graph) -> list[Node]:
    """Return the layers with weights, in the graph's order."""
    return [node for node in graph.nodes if isinstance(node.op, Linear | Conv2d | ConvTranspose2d)]


def matches(pattern: str, node: Node) -> bool:
    """True if the glob fits the node's name or module path."""
    return fnmatchcase(node.name, pattern) or fnmatchcase(node.loc.module, pattern)


def check_layers(graph: Graph, layers: Sequence[Node], patterns: Iterable[str]) -> None:
    """Raise ToolError `unknown-layer` with a finding for each pattern that fits none of the layers."""
    known = {node.name for node in layers} | {node.loc.module for node in layers if node.loc.module}
    unknown = [pattern for pattern in patterns if not any(matches(pattern, node) for node in layers)]
    if unknown:
        message = f"No layer of {graph.name} with weights matches"
        findings = (
            Diagnostic("unknown-layer", f"{message} {pattern!r}", hint=known_names(pattern, known))
            for pattern in unknown
        )
        raise ToolError(*findings)
