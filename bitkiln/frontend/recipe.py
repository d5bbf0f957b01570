"""What each pass of a recipe makes of the network: its accuracy on the test images, and what its constants take."""

from __future__ import annotations

import json

from torch import Tensor

from bitkiln.ir import Graph, to_plain
from bitkiln.passes import Pass, Progress, accuracy
from bitkiln.sim.report import RecipeStep

IMPORTED = "import"


class Recipe:
    """Collects the steps while passes run: `run_passes(graph, passes, context, recipe.add)`."""

    def __init__(self, imported: Graph, test_x: Tensor, test_y: Tensor, progress: Progress) -> None:
        self._test = test_x, test_y
        self._progress = progress
        self.steps: tuple[RecipeStep, ...] = ()
        self._add(IMPORTED, "", imported)

    def add(self, step: Pass, graph: Graph) -> None:
        """Record what `step` gave."""
        self._add(step.name, options_text(step), graph)

    def _add(self, name: str, options: str, graph: Graph) -> None:
        self._progress("accuracy", 0)
        bits = sum(const.type.bits for const in graph.consts)
        self.steps += (RecipeStep(name, options, accuracy(graph, *self._test), graph.params, bits),)


def options_text(step: Pass) -> str:
    """Return the options that are not the defaults, as TOML: `weight_bits = 4, per_channel = false`."""
    return ", ".join(f"{name} = {_toml(value)}" for name, value in to_plain(step).items())


def _toml(value: object) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case _:
            return json.dumps(value)
