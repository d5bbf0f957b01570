"""How often a network is right, measured the same way on floats and on exact integers."""

from __future__ import annotations

from torch import Tensor

from bitkiln.ir import Graph, evaluate_batches, fail
from bitkiln.ir.ops import ArgMax

from ._data import check_labels, check_samples


def accuracy(graph: Graph, x: Tensor, y: Tensor, batch: int = 256) -> float:
    """Return the part (0 to 1) of the samples `x` whose class is the label `y`.

    The class is the first output, if that is an arg-max, else the position of its largest element, the first of equals.
    Raises ToolError if the samples or the labels do not fit the graph.
    """
    classes = class_count(graph)
    check_samples(graph, x, "test data")
    check_labels(x, y, classes, "test data")
    output = evaluate_batches(graph, x, batch)
    found = output if output.dim() == 1 else output.argmax(1)
    return float((found == y).double().mean())


def class_count(graph: Graph) -> int:
    """Return how many classes the first output tells apart; raises ToolError `not-a-classifier`."""
    node = graph.node.get(graph.outputs[0])
    scores = node.args[0] if node and isinstance(node.op, ArgMax) else graph.outputs[0]
    shape = graph.types[scores].shape
    if len(shape) != 2:
        raise fail(
            "not-a-classifier",
            f"{graph.name} gives {list(shape)}; accuracy needs one score a class, [1, classes], or an arg-max",
        )
    return shape[1]
