"""Batch norm in training: with the statistics of the batch at hand, and afterwards with those of many samples.

While weights move, stored means and variances are out of date, so training normalises each batch by its own (Ioffe &
Szegedy 2015) and sends gradients through them. Before a graph is judged, its statistics are measured anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir import Const, Graph, evaluate, prune_dead
from bitkiln.ir.ops import BatchNorm

from ._codes import with_constants

MEASURED_BATCH = 256


@dataclass(frozen=True)
class BatchNormInTraining(BatchNorm):
    """Batch norm by the mean and variance of the batch; its arguments' mean and variance are not looked at.

    Needs two or more values a channel.
    """

    name: ClassVar[str] = "batch_norm_in_training"

    def evaluate(self, *args: Tensor) -> Tensor:
        x, gamma, beta = args[:3]
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=self.eps)


def has_batch_norm(graph: Graph) -> bool:
    """True if training has statistics to measure."""
    return any(isinstance(node.op, BatchNorm) for node in graph.nodes)


def measured(graph: Graph, samples: Tensor) -> dict[str, Const]:
    """Return the means and variances that each batch norm sees on `samples`, those before it being measured already.

    Variances are those of the samples themselves, without Bessel's correction, as in training.
    """
    found: dict[str, Const] = {}
    for node in graph.nodes:
        if isinstance(node.op, BatchNorm) and all(name in graph.const for name in node.args[3:]):
            for name, values in zip(node.args[3:], _moments(graph, node.args[0], samples), strict=True):
                const = graph.const[name]
                found[name] = Const(name, const.type, values.to(const.data.dtype))
            graph = with_constants(graph, found)
    return found


def _moments(graph: Graph, value: str, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel (axis 1) of a value, summed up in float64."""
    before = prune_dead(replace(graph, outputs=(value,)))
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    with torch.no_grad():
        for batch in samples.split(MEASURED_BATCH):
            x = evaluate(before, batch)[0].to(torch.float64).transpose(0, 1).flatten(1)
            count += x.shape[1]
            total = total + x.sum(1)
            squares = squares + x.square().sum(1)
    mean = total / count
    return mean, (squares / count - mean.square()).clamp(min=0)
