"""Pruning in steps with training after each: what was cut too early can be made up for before more is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, assert_never

from bitkiln.ir import Graph, fail

from ._base import Context, Keeps, Pass, Progress, Weights
from .prune import LayerDensity, Prune
from .tune import Tune


class Curve(Enum):
    """How densities fall from 1 to their goal d over steps k of n.

    GEOMETRIC: d^(k/n), each step cuts the same part of what is left. CUBIC: 1 - (1 - d) (1 - (1 - k/n)^3), fast at
    first and slow at the end (Zhu & Gupta 2017).
    """

    GEOMETRIC = "geometric"
    CUBIC = "cubic"

    def density(self, goal: float, done: float) -> float:
        """Return the density when the part `done` of the steps is done."""
        match self:
            case Curve.GEOMETRIC:
                return math.pow(goal, done)
            case Curve.CUBIC:
                return 1.0 - (1.0 - goal) * (1.0 - (1.0 - done) ** 3)
            case _ as never:
                assert_never(never)


@dataclass(frozen=True)
class GradualPrune(Pass):
    """Prune to the densities of `prune` in `steps` steps, each followed by `tune`, the last by `last` if it is given.

    Qualities need no curve: each step takes its part `k/n` of them. Where the trainings distil, the teacher is the
    graph as it came, unless the context names another.

    >>> GradualPrune(Prune(density=0.05), Tune(epochs=2), steps=4).density_after(2)
    0.223606797749979
    """

    name: ClassVar[str] = "gradual_prune"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS, Weights.LATENT})
    prune: Prune = field(default_factory=Prune)
    tune: Tune = field(default_factory=Tune)
    steps: int = 4
    curve: Curve = Curve.GEOMETRIC
    last: Tune | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise fail("number-range", f"steps must be at least 1, not {self.steps}")

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer` for entries that match no layer."""
        self.prune.check(graph)
        self.tune.check(graph)
        if self.last is not None:
            self.last.check(graph)

    def density_after(self, step: int) -> float:
        """Return the density that layers without an entry have after a step, from 1 to `steps`."""
        return self.curve.density(self.prune.density, step / self.steps)

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the pruned and trained graph; raises what Prune and Tune raise."""
        teacher = context.teacher or graph
        for step in range(1, self.steps + 1):
            graph = self._goal(step).run(graph, context)
            tune = self.last if self.last and step == self.steps else self.tune
            watched = replace(context, reference=graph, teacher=teacher, progress=self._progress(context, step))
            graph = tune.run(graph, watched)
        return graph

    def _goal(self, step: int) -> Prune:
        done = step / self.steps
        quality = None if self.prune.quality is None else self.prune.quality * done
        layers = tuple(self._layer_goal(entry, done) for entry in self.prune.layers)
        return replace(self.prune, density=self.density_after(step), quality=quality, layers=layers)

    def _layer_goal(self, entry: LayerDensity, done: float) -> LayerDensity:
        density = None if entry.density is None else self.curve.density(entry.density, done)
        return replace(entry, density=density, quality=None if entry.quality is None else entry.quality * done)

    def _progress(self, context: Context, step: int) -> Progress:
        def say(label: str, fraction: float) -> None:
            context.progress(f"prune {step}/{self.steps}, {label}", (step - 1 + fraction) / self.steps)

        return say
