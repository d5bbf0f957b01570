"""How much a channel matters: by the weights that make it, by what the loss would change, or by chance."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitkiln.ir import Graph, evaluate

from ._base import Context
from ._channels import Channels, Role, Slot
from .tune import scores_graph

Scores = NDArray[np.float64]
BATCH = 32


class Criterion(Enum):
    """What makes a channel worth keeping.

    L1 and L2: the norm of the weights that make it (Li et al., ICLR 2017). TAYLOR: how much the loss changes, to the
    first order, if it becomes 0: |sum of weight times gradient| over the weights and biases that make it, averaged over
    batches of 32 training samples (Molchanov et al., ICLR 2017 and CVPR 2019). RANDOM: a control.
    """

    L1 = "l1"
    L2 = "l2"
    TAYLOR = "taylor"
    RANDOM = "random"


def importance(channels: Channels, criterion: Criterion, context: Context, samples: int, seed: int) -> Scores:
    """Return a score of at least 0 for each number of a unit; zeros for numbers that stand for no unit."""
    match criterion:
        case Criterion.L1:
            return _summed(channels, [(slot, _data(channels, slot).abs()) for slot in _making(channels)])
        case Criterion.L2:
            squares = [(slot, _data(channels, slot).square()) for slot in _making(channels)]
            return np.sqrt(_summed(channels, squares))
        case Criterion.TAYLOR:
            return _taylor(channels, context.train_x[:samples], context.train_y[:samples])
        case Criterion.RANDOM:
            return np.random.default_rng(seed).random(channels.units.count)
        case _ as never:
            assert_never(never)


def _making(channels: Channels) -> Iterator[Slot]:
    return (slot for slot in channels.slots if slot.role in (Role.MAKES, Role.PASSES))


def _data(channels: Channels, slot: Slot) -> Tensor:
    return channels.graph.const[slot.const].data.detach().to(torch.float64)


def _summed(channels: Channels, parts: list[tuple[Slot, Tensor]]) -> Scores:
    """Sums of all elements in each unit's slices."""
    total = np.zeros(channels.units.count)
    for slot, elements in parts:
        lines = elements.movedim(slot.axis, 0).reshape(elements.shape[slot.axis], -1)
        np.add.at(total, channels.units.find(slot.labels), lines.sum(1).numpy())
    return total


def _taylor(channels: Channels, x: Tensor, y: Tensor) -> Scores:
    graph = scores_graph(channels.graph)
    made_by = {slot.node.name for slot in _making(channels)}
    slots = [
        slot
        for slot in channels.slots
        if slot.role in (Role.MAKES, Role.PASSES) or (slot.role is Role.FOLLOWS and slot.node.name in made_by)
    ]
    total, starts = np.zeros(channels.units.count), range(0, len(x), BATCH)
    for start in starts:
        changes = _changes(graph, {slot.const for slot in slots}, x[start : start + BATCH], y[start : start + BATCH])
        total += np.abs(_summed(channels, [(slot, changes[slot.const]) for slot in slots]))
    return total / len(starts)


def _changes(graph: Graph, names: set[str], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Each constant times the gradient of the loss with respect to it."""
    leaves = {name: graph.const[name].data.detach().clone().requires_grad_() for name in sorted(names)}
    (scores,) = evaluate(graph, x, consts=leaves)
    F.cross_entropy(scores, y.to(torch.int64)).backward()
    return {
        name: torch.zeros_like(leaf, dtype=torch.float64)
        if leaf.grad is None
        else (leaf.detach() * leaf.grad).to(torch.float64)
        for name, leaf in leaves.items()
    }
