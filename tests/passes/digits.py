"""scikit-learn's digits for small trainings, and float networks for them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bitkiln.ir import Graph
from bitkiln.ir.ops import Conv2d, MaxPool2d, Relu, Reshape
from bitkiln.passes import Context, Tune

from .networks import Network

TRAINING_SAMPLES = 1400


@cache
def digits() -> tuple[Tensor, Tensor]:
    """All 1797 images [N, 1, 8, 8] from 0 to 1, and their labels."""
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32)[:, None] / 16, torch.tensor(data.target)


def digits_context(graph: Graph, samples: int = TRAINING_SAMPLES) -> Context:
    x, y = digits()
    return Context(x[: min(samples, 256)], x[:samples], y[:samples], 0, graph)


def later_samples() -> tuple[Tensor, Tensor]:
    x, y = digits()
    return x[TRAINING_SAMPLES:], y[TRAINING_SAMPLES:]


def digits_mlp(width: int = 64, hidden: int = 2) -> Graph:
    network = Network((1, 8, 8))
    x = network.op(Reshape((1, 64)), network.x, name="flat")
    for i in range(1, hidden + 1):
        x = network.op(Relu(), network.linear(x, width, f"fc{i}"), name=f"relu{i}")
    return network.graph(network.linear(x, 10, "classify"))


def digits_cnn() -> Graph:
    """Three convolutions of 8 filters, the latter two of one shape, with pools before, between and after them."""
    network = Network((1, 8, 8))
    convolution = Conv2d(padding=((1, 1), (1, 1)))
    x = network.op(Relu(), network.conv(network.x, 8, "conv1", convolution), name="relu1")
    x = network.op(MaxPool2d((2, 2), (2, 2)), x, name="pool1")
    x = network.op(Relu(), network.conv(x, 8, "conv2", convolution), name="relu2")
    x = network.op(Relu(), network.conv(x, 8, "conv3", convolution), name="relu3")
    x = network.op(MaxPool2d((2, 2), (2, 2)), x, name="pool3")
    return network.graph(network.linear(network.op(Reshape((1, 32)), x, name="flat"), 10, "classify"))


@cache
def trained_mlp() -> Graph:
    graph = digits_mlp()
    return Tune(epochs=6, learning_rate=3e-3).run(graph, digits_context(graph))


def briefly_tuned(graph: Graph) -> Graph:
    """The graph after one epoch on few samples: parameters, latent weights and statistics have all moved."""
    context = replace(digits_context(graph, 300), reference=graph)
    return Tune(epochs=1, learning_rate=1e-2, batch=32, keep_best=False).run(graph, context)
