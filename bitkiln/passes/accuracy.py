"""How often a network is right, measured the same way on floats and on exact integers."""

from __future__ import annotations

from torch import Tensor

from bitkiln.ir import Graph, Node, evaluate_batches, fail
from bitkiln.ir.ops import Reshape, TopK

from ._data import check_labels, check_samples


def accuracy(graph: Graph, x: Tensor, y: Tensor, batch: int = 256) -> float:
    """Return the part (0 to 1) of the samples `x` whose class is the label `y`.

    The class is the first output, if that is an arg-max or begins with it (top-k), else the position of its largest
    element, the first of equals.
    Raises ToolError if the samples or the labels do not fit the graph.
    """
    classes = class_count(graph)
    check_samples(graph, x, "test data")
    check_labels(x, y, classes, "test data")
    return float((classes_found(graph, evaluate_batches(graph, x, batch)) == y).double().mean())


def classes_found(graph: Graph, output: Tensor) -> Tensor:
    """Return [samples], the classes that the first output tells."""
    return output.reshape(len(output), -1)[:, 0] if top_node(graph) else output.argmax(1)


def top_node(graph: Graph) -> Node | None:
    """Return the top-k (or arg-max) that gives the first output, if one does."""
    node = graph.node.get(graph.outputs[0])
    while node is not None and isinstance(node.op, Reshape):
        node = graph.node.get(node.args[0])
    return node if node is not None and isinstance(node.op, TopK) else None


def class_count(graph: Graph) -> int:
    """Return how many classes the first output tells apart; raises ToolError `not-a-classifier`."""
    shape = graph.types[scores_name(graph)].shape
    if len(shape) != 2:
        raise fail(
            "not-a-classifier",
            f"{graph.name} gives {list(shape)}; accuracy needs one score a class, [1, classes], or an arg-max",
        )
    return shape[1]


def scores_name(graph: Graph) -> str:
    """Return the value that a top-k chooses from, or else the first output."""
    node = top_node(graph)
    return node.args[0] if node else graph.outputs[0]
