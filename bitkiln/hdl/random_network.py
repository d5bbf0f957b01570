"""Random small networks of codes over all units, described by few numbers so that a failing one can be shrunk.

Every step draws what it does from a seed of its own and fits it to what it finds: without one of them the others still
make a network.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum

from bitkiln.ir import Builder, Graph, Int, TensorType
from bitkiln.ir.ops import Conv2d, Linear, Reshape, TopK
from bitkiln.ir.units import DspBlock, Storage
from bitkiln.passes.schedule import LayerFolding, PlanOptions

from ._random_layers import RandomLayers
from ._random_steps import RandomSteps, StepKind

__all__ = ["End", "RandomNetwork", "Step", "StepKind"]

_KINDS = (*StepKind, StepKind.MAX_POOL, StepKind.SIGN_POOL, StepKind.AVERAGE_POOL, StepKind.CONCATENATION)
_WITH_WEIGHTS = (
    *(StepKind.CONVOLUTION, StepKind.GROUPED, StepKind.DEPTHWISE, StepKind.SIGNS),
    *(StepKind.RESIDUAL, StepKind.BRANCHES, StepKind.GATE),
)


class End(Enum):
    """What comes behind the map."""

    MAP = "map"
    LINEAR = "linear"
    TWO_LINEAR = "two_linear"
    ROWS = "rows"
    SUMS = "sums"
    BEST = "best"


@dataclass(frozen=True)
class Step:
    """One step and the seed of what it draws."""

    kind: StepKind
    seed: int


@dataclass(frozen=True)
class RandomNetwork:
    """A map [channels, height, width] of codes, the steps, the end; folded to `multipliers`, weights in `storage`.

    `folding` and `queues` are seeds of foldings by hand and of depths of queues; with 0 both are what the schedule
    makes them.
    Of the multipliers `dsp` may be blocks, which take several products where `dsp_block` does.
    """

    seed: int
    channels: int
    height: int
    width: int
    steps: tuple[Step, ...]
    end: End
    multipliers: int
    storage: Storage | None = None
    renewable: bool = False
    banks: int = 1
    folding: int = 0
    queues: int = 0
    dsp_block: DspBlock | None = None
    dsp: int | None = None

    @classmethod
    def drawn(cls, seed: int) -> RandomNetwork:
        """Return the network of this seed."""
        rng = random.Random(seed)
        kinds = [rng.choice(_WITH_WEIGHTS), *(rng.choice(_KINDS) for _ in range(rng.randint(0, 2)))]
        rng.shuffle(kinds)
        steps = tuple(Step(kind, rng.getrandbits(30)) for kind in kinds)
        size = rng.choice([1, 2, 3, 4, 6, 8]), rng.randint(2, 6), rng.randint(2, 6)
        end, multipliers = rng.choice(list(End)), rng.choice([8, 16, 40])
        storage = rng.choice([*(None,) * 7, Storage.BLOCK, Storage.BIG, Storage.LOADED])
        renewable, banks = rng.random() < 0.2, rng.choice([1, 2])
        folding = rng.getrandbits(30) if rng.random() < 0.5 else 0
        queues = rng.getrandbits(30) if rng.random() < 0.3 else 0
        block, dsp = rng.choice([None, *DspBlock]), rng.choice([None, 0, 4, 8, 12])
        return cls(seed, *size, steps, end, multipliers, storage, renewable, banks, folding, queues, block, dsp)

    def plan_options(self, graph: Graph) -> PlanOptions:
        """How its graph is folded, and where its weights live, if it has some."""
        has_weights = any(isinstance(node.op, Conv2d | Linear) for node in graph.nodes)
        layers = (LayerFolding("*", storage=self.storage),) if self.storage and has_weights else ()
        return PlanOptions(
            max_multipliers=self.multipliers,
            dsp=self.dsp,
            dsp_block=self.dsp_block,
            renewable=self.renewable,
            weight_banks=self.banks,
            layers=layers,
        )

    def graph(self) -> Graph:
        """Return the quantised graph, always the same."""
        rng = random.Random(self.seed)
        layers = RandomLayers(Builder(f"random{self.seed}"), rng)
        number = Int(rng.randint(2, 9), rng.random() < 0.5, 4)
        x = layers.build.input("x", TensorType((1, self.channels, self.height, self.width), number))
        for i, step in enumerate(self.steps):
            layers.rng = random.Random(step.seed)
            x = RandomSteps(layers).add(x, step.kind, f"{step.kind.value}{i}")
        layers.rng = rng
        return layers.build.graph((_ended(layers, x, self.end),))


def _ended(layers: RandomLayers, x: str, end: End) -> str:
    """Add what comes behind the map; return the output."""
    shape = layers.shape(x)
    if end is End.MAP:
        return x
    if end is End.ROWS:
        rows = layers.build.add(Reshape((1, math.prod(shape[:-1]), shape[-1])), (x,), "rows")
        return layers.requantised(layers.linear(rows, "fc", layers.rng.choice([2, 3, 4]), points=1), "fc")
    flat = layers.build.add(Reshape((1, math.prod(shape))), (x,), "flat")
    if end is End.BEST:
        return layers.build.add(TopK(min(layers.rng.randint(1, 4), math.prod(shape))), (flat,), "best")
    if end is End.SUMS:
        return layers.linear(flat, "fc", layers.rng.choice([2, 5, 8]), points=1)
    if end is End.TWO_LINEAR:
        flat = layers.coded(layers.linear(flat, "fc1", layers.rng.choice([3, 4, 6, 8])), "fc1")
    return layers.coded(layers.linear(flat, "fc2", layers.rng.choice([2, 5])), "fc2")
