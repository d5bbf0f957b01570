from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitkiln.ir import ToolError
from bitkiln.ir.ops import Relu, Reshape, TopK
from bitkiln.passes import Quantise, accuracy, class_count

from .networks import Network, context, mlp, samples

X = torch.tensor([[0.1, 0.9, 0.0], [0.5, 0.25, 0.5], [0.0, 0.0, 1.0], [0.75, 0.5, 0.25]])


def scores(with_argmax: bool) -> Network:
    network = Network((3,))
    y = network.op(Relu(), network.x)
    network.x = network.op(TopK(), y) if with_argmax else y
    return network


@pytest.mark.parametrize("with_argmax", [False, True])
def test_the_largest_score_counts_and_the_first_of_equals(with_argmax: bool) -> None:
    network = scores(with_argmax)
    graph = network.graph(network.x)
    assert class_count(graph) == 3
    assert accuracy(graph, X, torch.tensor([1, 0, 2, 0])) == 1.0
    assert accuracy(graph, X, torch.tensor([1, 2, 2, 1]), batch=3) == 0.5


def test_of_several_classes_the_first_counts() -> None:
    network = scores(False)
    network.x = network.op(Reshape((1, 2, 1)), network.op(TopK(2), network.x))
    assert accuracy(network.graph(network.x), X, torch.tensor([1, 0, 2, 1])) == 0.75


@pytest.mark.parametrize("with_argmax", [False, True])
def test_codes_are_judged_like_floats(with_argmax: bool) -> None:
    network = scores(with_argmax)
    graph = network.graph(network.x)
    quantised = Quantise().run(graph, context(graph, X, torch.zeros(4, dtype=torch.int64)))
    assert accuracy(quantised, X, torch.tensor([1, 0, 2, 1])) == 0.75


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(5, dtype=torch.int64), "The test data has 64 samples but labels of shape [5]"),
        (torch.zeros(64, 1, dtype=torch.int64), "The test data has 64 samples but labels of shape [64, 1]"),
        (torch.zeros(64), "The labels of the test data must be whole numbers, not torch.float32"),
        (
            torch.arange(64) - 1,
            "The labels of the test data go from -1 to 62; the network has the classes 0 to 2",
        ),
    ],
)
def test_unfit_labels_are_named(y: Tensor, message: str) -> None:
    graph = mlp()
    with pytest.raises(ToolError) as caught:
        accuracy(graph, samples(graph), y)
    assert str(caught.value) == f"error[bad-labels]: {message}"


def test_a_feature_map_is_no_classifier() -> None:
    network = Network((2, 4, 4))
    graph = network.graph(network.op(Relu(), network.x))
    with pytest.raises(ToolError) as caught:
        accuracy(graph, samples(graph), torch.zeros(64, dtype=torch.int64))
    assert str(caught.value) == (
        "error[not-a-classifier]: tiny gives [1, 2, 4, 4]; "
        "accuracy needs one score a class, [1, classes], or an arg-max"
    )
