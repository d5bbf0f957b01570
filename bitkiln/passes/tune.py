"""Fine-tuning of the Graph itself: on codes with straight-through estimators, on floats as plain training.

Every step rounds the shadow weights to codes, runs the very graph that will be built, and hands the gradient of each
code to its shadow weight (Courbariaux et al. 2015, BinaryConnect; Bengio et al. 2013). Points and widths stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir import Graph, Int, Node, evaluate_batches, fail, prune_dead, verify
from bitkiln.ir.ops import Dequantise

from ._base import Context, Keeps, Pass
from ._codes import with_constants
from ._data import check_labels, check_samples
from ._objectives import LayerDropout, Loss, Optimizer, Schedule
from ._selection import check_layers, weighted_layers
from ._shadow import shadows
from ._trainer import Samples, Training
from .accuracy import class_count, scores_name


@dataclass(frozen=True)
class Tune(Pass):
    """Train the weights and biases of a graph on labelled samples, and keep the best epoch.

    `held_out` is the part of the training data on which epochs are compared: by accuracy, then by loss. The graph as it
    came counts as epoch 0, so tuning never makes it worse there; without `keep_best` the last epoch is kept whatever it
    is. Batch norms train with the statistics of each batch, and get those of the training samples before an epoch is
    judged. With `keep_zeros` pruned weights, those of exactly 0, stay 0. The same seed (else the context's) gives the
    same graph on the same machine with the same number of threads, also if a run was killed and continued.

    `momentum` holds for sgd. `l1` and `l2` add their multiple of sign(w) and of w to the gradient of weights (not of
    biases, nor of tables of shared weights); `weight_decay` is the optimiser's and holds for all. `shift_pixels` moves
    images by up to so many pixels each way, another offset for each batch. `distil` is the part of the loss that
    compares with the teacher's scores at `temperature` (Hinton et al. 2015).

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
    step_epochs: int = 10
    step_factor: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    held_out: float = 0.1
    keep_best: bool = True
    seed: int | None = None
    loss: Loss = Loss.CROSS_ENTROPY
    keep_zeros: bool = True
    l1: float = 0.0
    l2: float = 0.0
    dropout: tuple[LayerDropout, ...] = ()
    shift_pixels: int = 0
    distil: float = 0.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        _check("epochs", self.epochs, self.epochs >= 1, "at least 1")
        _check("batch", self.batch, self.batch >= 1, "at least 1")
        _check("learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "greater than 0")
        _check("step_epochs", self.step_epochs, self.step_epochs >= 1, "at least 1")
        _check("step_factor", self.step_factor, 0 <= self.step_factor <= 1, "from 0 to 1")
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "from 0 to below 1")
        for what, value in (("weight_decay", self.weight_decay), ("l1", self.l1), ("l2", self.l2)):
            _check(what, value, 0 <= value < math.inf, "at least 0")
        _check("held_out", self.held_out, 0 < self.held_out < 1, "between 0 and 1")
        _check("shift_pixels", self.shift_pixels, self.shift_pixels >= 0, "at least 0")
        _check("distil", self.distil, 0 <= self.distil <= 1, "from 0 to 1")
        _check("temperature", self.temperature, 0 < self.temperature < math.inf, "greater than 0")

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer` for dropout before layers that are not there."""
        check_layers(graph, weighted_layers(graph), (entry.layer for entry in self.dropout))

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
        samples = Samples(x, y)
        teacher = evaluate_batches(scores_graph(context.teacher or context.reference), x) if self.distil else None
        training = Training(self, scores, found, samples, order[kept:], samples.at(order[:kept]), generator, teacher)
        return with_constants(graph, training.run(context.progress, context.checkpoints))

    def objective(self, scores: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """Return the loss of a batch, against its labels and a teacher's scores."""
        loss = self.loss.of(scores, labels)
        if teacher is None:
            return loss
        softened = F.log_softmax(scores / self.temperature, 1)
        wanted = F.softmax(teacher / self.temperature, 1)
        distance = F.kl_div(softened, wanted, reduction="batchmean") * self.temperature**2
        return (1.0 - self.distil) * loss + self.distil * distance


def _check(what: str, value: float, is_right: bool, wanted: str) -> None:
    if not is_right:
        raise fail("number-range", f"{what} must be {wanted}, not {value:g}")


def scores_graph(graph: Graph) -> Graph:
    """Return the graph with one output, the classes' scores as floats, also where the first output is an arg-max."""
    name, nodes = scores_name(graph), graph.nodes
    type_ = graph.types[name]
    if isinstance(type_.number, Int):
        scores = f"{name}_scores"
        op = Dequantise(type_.number.fracs)
        nodes = (*nodes, Node(scores, op, (name,), op.infer(type_)))
        name = scores
    return verify(prune_dead(replace(graph, nodes=nodes, outputs=(name,))))
