"""What every pass is: options as typed fields, a promise about what it keeps, and one function from Graph to Graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from torch import Tensor

from bitkiln.ir import Graph

Progress = Callable[[str, float], None]


def no_progress(label: str, fraction: float) -> None:
    """Report nothing: the progress of callers that show none."""


class Keeps(Enum):
    """What a pass leaves as it was.

    BITS: every output, bit for bit on codes and up to the rounding of floats. ACCURACY: only how often the network is
    right.
    """

    BITS = "bits"
    ACCURACY = "accuracy"


@dataclass(frozen=True, eq=False)
class Context:
    """What a pass may look at besides the graph.

    `calibration` and `train_x` are samples [N, ...] of the graph's only input, `train_y` whole-number labels [N].
    `reference` is the float graph before quantisation: constants have the same names there, and their values are where
    the shadow weights of fine-tuning start. `progress` is called with a label and the part that is done, from 0 to 1.
    """

    calibration: Tensor
    train_x: Tensor
    train_y: Tensor
    seed: int
    reference: Graph
    progress: Progress = no_progress


@dataclass(frozen=True)
class Pass(ABC):
    """One transformation; the fields of the subclass are its options in `project.toml`, `name` is its name there."""

    name: ClassVar[str]
    keeps: ClassVar[Keeps]

    @abstractmethod
    def run(self, graph: Graph, context: Context) -> Graph:
        """Return a new verified graph from a verified one; raises ToolError if graph or data do not allow it."""
