"""What every pass is: options as typed fields, a promise about what it keeps, and one function from Graph to Graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol

from torch import Tensor

from bitkiln.ir import Graph

Progress = Callable[[str, float], None]


def no_progress(label: str, fraction: float) -> None:
    """Report nothing: the progress of callers that show none."""


class Checkpoints(Protocol):
    """Where training leaves its state, so that a killed run goes on from there; `key` says what the state belongs to.

    States are named tensors. Passes themselves touch no files.
    """

    def load(self, key: str) -> Mapping[str, Tensor] | None:
        """Return the state that was last saved under the key, None if there is none."""

    def save(self, key: str, state: Mapping[str, Tensor]) -> None:
        """Keep the state in place of the one before; all of it or none."""


class NoCheckpoints:
    """Keeps nothing: every run starts anew."""

    def load(self, key: str) -> Mapping[str, Tensor] | None:
        return None

    def save(self, key: str, state: Mapping[str, Tensor]) -> None:
        pass


NO_CHECKPOINTS = NoCheckpoints()


class Keeps(Enum):
    """What a pass leaves as it was.

    BITS: every output, bit for bit on codes and up to the rounding of floats. ACCURACY: only how often the network is
    right.
    """

    BITS = "bits"
    ACCURACY = "accuracy"


class Weights(Enum):
    """What a graph's weights are; the value says so in messages."""

    FLOATS = "floats"
    LATENT = "floats behind quantisers"
    SHARED = "shared"
    CODES = "fixed point"
    CODED = "coded for storage"


@dataclass(frozen=True, eq=False)
class Context:
    """What a pass may look at besides the graph.

    `calibration` and `train_x` are samples [N, ...] of the graph's only input, `train_y` whole-number labels [N].
    `reference` is the float graph before quantisation: constants have the same names there, and their values are where
    the shadow weights of fine-tuning start. `teacher` is the graph whose scores distillation follows, by default the
    reference. `progress` is called with a label and the part that is done, from 0 to 1.
    """

    calibration: Tensor
    train_x: Tensor
    train_y: Tensor
    seed: int
    reference: Graph
    progress: Progress = no_progress
    checkpoints: Checkpoints = NO_CHECKPOINTS
    teacher: Graph | None = None


@dataclass(frozen=True)
class Pass(ABC):
    """One transformation; the fields of the subclass are its options in `project.toml`, `name` is its name there."""

    name: ClassVar[str]
    keeps: ClassVar[Keeps]
    takes: ClassVar[frozenset[Weights]] = frozenset(Weights) - {Weights.CODED}
    """Which weights the pass can work on."""
    makes: ClassVar[Weights | None] = None
    """What the weights are after it; None: what they were."""

    def check(self, graph: Graph) -> None:  # noqa: B027  # most have nothing to check
        """Raise ToolError if the options cannot fit the graph, before any pass of a chain runs."""

    @abstractmethod
    def run(self, graph: Graph, context: Context) -> Graph:
        """Return a new verified graph from a verified one; raises ToolError if graph or data do not allow it."""
