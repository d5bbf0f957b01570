"""What training lowers, by which steps, and how fast they shrink."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from bitkiln.ir import fail


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


class Optimizer(Enum):
    """How gradients become steps; `adam` decays weights apart from the gradient (AdamW)."""

    SGD = "sgd"
    ADAM = "adam"


class Schedule(Enum):
    """How the learning rate goes on: as it is, down to 0 along half a cosine, or down by a factor now and then."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"


@dataclass(frozen=True)
class LayerDropout:
    """Set inputs of the layers that match `layer` (`*`, `?`, `[...]`) to 0 with probability `rate` while training.

    `rate` is meant for the dense layer: where a part d of its connections is left, rate * sqrt(d) is taken (Han et al.
    2015), since a sparse layer needs less of it.
    """

    layer: str
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            message = f"rate of the layers {self.layer!r} must be from 0 to below 1, not {self.rate:g}"
            raise fail("number-range", message)


def learning_rate_factor(schedule: Schedule, epochs_done: float, epochs: int, step_epochs: int, step: float) -> float:
    """Return what the learning rate is multiplied by; STEP multiplies by `step` after each `step_epochs`."""
    match schedule:
        case Schedule.CONSTANT:
            return 1.0
        case Schedule.COSINE:
            return 0.5 * (1.0 + math.cos(math.pi * epochs_done / epochs))
        case Schedule.STEP:
            return step ** math.floor(epochs_done / step_epochs)
        case _ as never:
            assert_never(never)
