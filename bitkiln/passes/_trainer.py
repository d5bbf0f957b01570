"""The one trainer: steps on shadow weights, epochs compared on held-out samples, a state that survives a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor

from bitkiln.ir import Const, Graph, evaluate, evaluate_batches, fail, print_graph, to_plain

from ._base import Checkpoints, Progress
from ._batch_statistics import has_batch_norm, measured
from ._codes import with_constants
from ._in_training import for_training, moved
from ._objectives import Optimizer, learning_rate_factor
from ._shadow import Shadow

if TYPE_CHECKING:
    from .tune import Tune

MEASURED_SAMPLES = 8192
"""How many training samples the statistics of batch norms are measured on."""

Rank = tuple[float, float]
"""Accuracy and negative loss: larger is better."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs [N, ...] and whole-number labels [N]."""

    x: Tensor
    y: Tensor

    def at(self, places: Tensor) -> Samples:
        return Samples(self.x[places], self.y[places])


@dataclass
class Training:
    """One run of training: `graph` gives scores, `train` the places in `samples` of those to train on."""

    options: Tune
    graph: Graph
    shadows: tuple[Shadow, ...]
    samples: Samples
    train: Tensor
    held_out: Samples
    generator: torch.Generator
    teacher: Tensor | None = None
    epochs_done: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.in_training = for_training(self.graph, self.options.dropout, self.generator)
        self.has_batch_norm = has_batch_norm(self.graph)
        if self.has_batch_norm and min(self.options.batch, len(self.train)) < 2:
            raise fail("number-range", "batch norm trains on batches of at least 2 samples, not 1")
        if self.options.shift_pixels and self.samples.x.dim() != 4:
            message = f"shift_pixels moves images [N, C, H, W], not samples of {list(self.samples.x.shape[1:])}"
            raise fail("bad-value", message)
        self.optimizer = self._optimizer()

    def run(self, progress: Progress, checkpoints: Checkpoints) -> dict[str, Const]:
        """Train all epochs, or those that a checkpoint leaves, and return the constants of the epoch to keep."""
        key = self._key()
        self.best_rank = (-1.0, 0.0)
        state = checkpoints.load(key)
        if state is not None:
            self._restore(state)
        elif self.options.keep_best:
            self.best_rank = self._rank(self.graph)
        label = "tune"
        for epoch in range(self.epochs_done, self.options.epochs):
            loss = self._epoch(label, progress)
            rank = self._judge(epoch)
            self.epochs_done = epoch + 1
            label = f"tune {epoch + 1}/{self.options.epochs}: loss {loss:.4f}, held out {rank[0]:.2%}"
            progress(label, self.epochs_done / self.options.epochs)
            checkpoints.save(key, self._state())
        return self._constants(self.best)

    def _epoch(self, label: str, progress: Progress) -> float:
        """Take one step for each batch, in a new order; return the mean loss."""
        order = self.train[torch.randperm(len(self.train), generator=self.generator)]
        done, total = 0, 0.0
        for places in order.split(self.options.batch):
            if len(places) > 1 or not self.has_batch_norm:  # one sample has no variance
                self._set_learning_rate(self.epochs_done + done / len(order))
                total += self._step(places) * len(places)
            done += len(places)
            if done < len(order):
                progress(label, (self.epochs_done + done / len(order)) / self.options.epochs)
        return total / len(order)

    def _judge(self, epoch: int) -> Rank:
        """Rank the weights now, and remember them if they are to be kept."""
        if not all(bool(torch.isfinite(shadow.value).all()) for shadow in self.shadows):
            raise fail(
                "diverged",
                f"Training ran off to NaN or infinite weights in epoch {epoch + 1}",
                hint=f"set a learning_rate below {self.options.learning_rate:g}",
            )
        values = {shadow.const.name: shadow.value.clone() for shadow in self.shadows}
        if self.has_batch_norm:
            graph = with_constants(self.graph, self._constants(values))
            statistics = measured(graph, self.samples.x[self.train[:MEASURED_SAMPLES]])
            values |= {name: const.data for name, const in statistics.items()}
        rank = self._rank(with_constants(self.graph, self._constants(values)))
        if rank > self.best_rank or not self.options.keep_best:
            self.best_rank, self.best = rank, values
        return rank

    def _step(self, places: Tensor) -> float:
        options, leaves = self.options, {shadow.const.name: shadow.leaf() for shadow in self.shadows}
        x = moved(self.samples.x[places], options.shift_pixels, self.generator)
        (scores,) = evaluate(self.in_training, x, consts=leaves)
        loss = options.objective(scores, self.samples.y[places], None if self.teacher is None else self.teacher[places])
        loss.backward()
        for shadow in self.shadows:
            shadow.take_gradient(leaves[shadow.const.name], options.l1, options.l2)
        self.optimizer.step()
        for shadow in self.shadows:
            shadow.keep_in_range()
        return float(loss.detach())

    def _set_learning_rate(self, epochs_done: float) -> None:
        options = self.options
        factor = learning_rate_factor(
            options.schedule, epochs_done, options.epochs, options.step_epochs, options.step_factor
        )
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate * factor

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

    def _constants(self, values: Mapping[str, Tensor]) -> dict[str, Const]:
        """The graph's constants for these shadow values and statistics."""
        found = {shadow.const.name: shadow for shadow in self.shadows}
        return {
            name: found[name].constant(value) if name in found else Const(name, self.graph.types[name], value)
            for name, value in values.items()
        }

    def _rank(self, graph: Graph) -> Rank:
        scores = evaluate_batches(graph, self.held_out.x)
        right = float((scores.argmax(1) == self.held_out.y).double().mean())
        return right, -float(self.options.loss.of(scores, self.held_out.y))

    def _key(self) -> str:
        """What this run begins with, as a digest: a checkpoint of another one does not fit."""
        digest = hashlib.sha256(json.dumps(to_plain(self.options), sort_keys=True).encode())
        digest.update(print_graph(self.graph).encode())
        digest.update(self.generator.get_state().numpy().tobytes())
        digest.update(b"" if self.teacher is None else self.teacher.numpy().tobytes())
        for shadow in self.shadows:
            digest.update(shadow.value.numpy().tobytes())
            digest.update(b"" if shadow.kept is None else shadow.kept.numpy().tobytes())
        return digest.hexdigest()

    def _state(self) -> dict[str, Tensor]:
        """Everything that the epochs to come depend on."""
        state = {"epochs": torch.tensor(self.epochs_done), "generator": self.generator.get_state()}
        state["rank"] = torch.tensor(self.best_rank, dtype=torch.float64)
        state |= {f"value.{shadow.const.name}": shadow.value for shadow in self.shadows}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        for i, shadow in enumerate(self.shadows):
            for name, moment in self.optimizer.state[shadow.value].items():
                if isinstance(moment, Tensor):
                    state[f"optimizer.{i}.{name}"] = moment
        return state

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        self.epochs_done = int(state["epochs"])
        self.generator.set_state(state["generator"])
        right, negative_loss = state["rank"].tolist()
        self.best_rank = (right, negative_loss)
        for i, shadow in enumerate(self.shadows):
            shadow.value.copy_(state[f"value.{shadow.const.name}"])
            moments = {
                name.removeprefix(f"optimizer.{i}."): value.clone()
                for name, value in state.items()
                if name.startswith(f"optimizer.{i}.")
            }
            if moments:
                self.optimizer.state[shadow.value] = moments
        self.best = {
            name.removeprefix("best."): value.clone() for name, value in state.items() if name.startswith("best.")
        }
