"""Fine-tuning of the Graph itself: on codes with straight-through estimators, on floats as plain training.

Every step rounds the shadow weights to codes, runs the very graph that will be built, and hands the gradient of each
code to its shadow weight (Courbariaux et al. 2015, BinaryConnect; Bengio et al. 2013). Points and widths stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir import Const, Graph, Int, Node, evaluate, evaluate_batches, fail, prune_dead, verify
from bitkiln.ir.ops import ArgMax, Dequantise

from ._base import Context, Keeps, Pass
from ._batch_statistics import for_training, has_batch_norm, measured
from ._codes import with_constants
from ._data import check_labels, check_samples
from ._shadow import Shadow, shadows
from .accuracy import class_count

MEASURED_SAMPLES = 8192
"""How many training samples the statistics of batch norms are measured on."""


class Optimizer(Enum):
    """How gradients become steps; `adam` decays weights apart from the gradient (AdamW)."""

    SGD = "sgd"
    ADAM = "adam"


class Schedule(Enum):
    """How the learning rate goes on: as it is, or down to 0 along half a cosine."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Loss(Enum):
    """What training lowers: cross entropy of the softmax, or the squared hinge of one class against all.

    The squared hinge is the mean of max(0, 1 - t*s)^2 over all scores s, where t is +1 for the sample's class and else
    -1 (Courbariaux et al. 2016).
    """

    CROSS_ENTROPY = "cross_entropy"
    SQUARED_HINGE = "squared_hinge"

    def of(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over scores [N, classes] and labels [N]."""
        match self:
            case Loss.CROSS_ENTROPY:
                return F.cross_entropy(scores, labels.to(torch.int64))
            case Loss.SQUARED_HINGE:
                targets = 2.0 * F.one_hot(labels.to(torch.int64), scores.shape[1]) - 1.0
                return torch.relu(1.0 - targets * scores).square().mean()
            case _ as never:
                assert_never(never)


@dataclass(frozen=True)
class Tune(Pass):
    """Train the weights and biases of a graph on labelled samples, and keep the best epoch.

    `held_out` is the part of the training data on which epochs are compared: by accuracy, then by loss. The graph as it
    came counts as epoch 0, so tuning never makes it worse there. `momentum` holds for sgd. Batch norms train with the
    statistics of each batch, and get those of the training samples before an epoch is judged. With `keep_zeros` pruned
    weights, those of exactly 0, stay 0. The same seed (else the context's) gives the same graph on the same machine
    with the same number of threads.

    >>> Tune(epochs=3, learning_rate=0.01, optimizer=Optimizer.SGD).schedule
    <Schedule.COSINE: 'cosine'>
    """

    name: ClassVar[str] = "tune"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    epochs: int = 5
    learning_rate: float = 1e-3
    batch: int = 64
    optimizer: Optimizer = Optimizer.ADAM
    schedule: Schedule = Schedule.COSINE
    momentum: float = 0.9
    weight_decay: float = 0.0
    held_out: float = 0.1
    seed: int | None = None
    loss: Loss = Loss.CROSS_ENTROPY
    keep_zeros: bool = True

    def __post_init__(self) -> None:
        for what, count in (("epochs", self.epochs), ("batch", self.batch)):
            if count < 1:
                raise fail("number-range", f"{what} must be at least 1, not {count}")
        if not 0 < self.learning_rate < math.inf:
            raise fail("number-range", f"learning_rate must be greater than 0, not {self.learning_rate:g}")
        if not 0 <= self.momentum < 1:
            raise fail("number-range", f"momentum must be from 0 to below 1, not {self.momentum:g}")
        if not 0 <= self.weight_decay < math.inf:
            raise fail("number-range", f"weight_decay must be at least 0, not {self.weight_decay:g}")
        if not 0 < self.held_out < 1:
            raise fail("number-range", f"held_out must be between 0 and 1, not {self.held_out:g}")

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with other constants at the same points; raises ToolError if data or weights do not fit."""
        x, y = context.train_x, context.train_y
        check_samples(graph, x, "training data")
        check_labels(x, y, class_count(graph), "training data")
        if len(x) < 2:
            raise fail("empty-data", "The training data has 1 sample; tuning needs some to train on, some to hold out")
        generator = torch.Generator().manual_seed(context.seed if self.seed is None else self.seed)
        order = torch.randperm(len(x), generator=generator)
        kept = min(len(x) - 1, max(1, round(len(x) * self.held_out)))
        scores = scores_graph(graph)
        found = shadows(scores, context.reference, self.keep_zeros)
        training = _Training(self, scores, found, x, y, order[kept:], generator)
        held_x, held_y = x[order[:kept]], y[order[:kept]]
        best: dict[str, Const] = {}
        best_rank = _rank(scores, held_x, held_y, self.loss)
        for epoch in range(self.epochs):
            for part in training.epoch(epoch):
                context.progress("tune", (epoch + part) / self.epochs)
            consts = training.constants(epoch)
            rank = _rank(with_constants(scores, consts), held_x, held_y, self.loss)
            if rank > best_rank:
                best_rank, best = rank, consts
        return with_constants(graph, best)


def scores_graph(graph: Graph) -> Graph:
    """Return the graph with one output, the classes' scores as floats, also where the first output is an arg-max."""
    node = graph.node.get(graph.outputs[0])
    name = node.args[0] if node and isinstance(node.op, ArgMax) else graph.outputs[0]
    nodes = graph.nodes
    type_ = graph.types[name]
    if isinstance(type_.number, Int):
        scores = f"{name}_scores"
        op = Dequantise(type_.number.fracs)
        nodes = (*nodes, Node(scores, op, (name,), op.infer(type_)))
        name = scores
    return verify(prune_dead(replace(graph, nodes=nodes, outputs=(name,))))


@dataclass
class _Training:
    """One run of training: `graph` gives scores, `train` the positions of the samples to train on."""

    options: Tune
    graph: Graph
    shadows: tuple[Shadow, ...]
    x: Tensor
    y: Tensor
    train: Tensor
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.optimizer = self._optimizer()
        self.in_training = for_training(self.graph)
        self.has_batch_norm = has_batch_norm(self.graph)
        if self.has_batch_norm and min(self.options.batch, len(self.train)) < 2:
            raise fail("number-range", "batch norm trains on batches of at least 2 samples, not 1")

    def epoch(self, number: int) -> Iterator[float]:
        """Take one step for each batch, in a new order; yield the part of the epoch that is done."""
        order = self.train[torch.randperm(len(self.train), generator=self.generator)]
        done = 0
        for samples in order.split(self.options.batch):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate((number + done / len(order)) / self.options.epochs)
            if len(samples) > 1 or not self.has_batch_norm:  # one sample has no variance
                self._step(samples)
            done += len(samples)
            yield done / len(order)

    def constants(self, epoch: int) -> dict[str, Const]:
        """Return the constants now; raises ToolError `diverged` if training ran off."""
        if not all(bool(torch.isfinite(shadow.value).all()) for shadow in self.shadows):
            raise fail(
                "diverged",
                f"Training ran off to NaN or infinite weights in epoch {epoch + 1}",
                hint=f"set a learning_rate below {self.options.learning_rate:g}",
            )
        consts = {shadow.const.name: shadow.constant() for shadow in self.shadows}
        if self.has_batch_norm:
            samples = self.x[self.train[:MEASURED_SAMPLES]]
            consts |= measured(with_constants(self.graph, consts), samples)
        return consts

    def _step(self, samples: Tensor) -> None:
        leaves = {shadow.const.name: shadow.leaf() for shadow in self.shadows}
        (scores,) = evaluate(self.in_training, self.x[samples], consts=leaves)
        self.options.loss.of(scores, self.y[samples]).backward()
        for shadow in self.shadows:
            shadow.take_gradient(leaves[shadow.const.name])
        self.optimizer.step()
        for shadow in self.shadows:
            shadow.keep_in_range()

    def _learning_rate(self, done: float) -> float:
        match self.options.schedule:
            case Schedule.CONSTANT:
                return self.options.learning_rate
            case Schedule.COSINE:
                return self.options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
            case _ as never:
                assert_never(never)

    def _optimizer(self) -> torch.optim.Optimizer:
        values = [shadow.value for shadow in self.shadows]
        rate, decay = self.options.learning_rate, self.options.weight_decay
        match self.options.optimizer:
            case Optimizer.SGD:
                return torch.optim.SGD(values, rate, momentum=self.options.momentum, weight_decay=decay)
            case Optimizer.ADAM:
                return torch.optim.AdamW(values, rate, weight_decay=decay)
            case _ as never:
                assert_never(never)


def _rank(graph: Graph, x: Tensor, y: Tensor, loss: Loss) -> tuple[float, float]:
    """Accuracy and negative loss on the held-out samples: larger is better."""
    scores = evaluate_batches(graph, x)
    return float((scores.argmax(1) == y).double().mean()), -float(loss.of(scores, y))
