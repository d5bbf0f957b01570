"""Magnitude pruning: the smallest weights become exactly 0, and training leaves them there (Han et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, assert_never

import torch
from torch import Tensor

from bitkiln.ir import Const, Float, Graph, Node, check_finite, fail, verify

from ._base import Context, Keeps, Pass, Weights
from ._selection import check_layers, matches, weighted_layers


class Scope(Enum):
    """Among which weights the largest are kept: each layer's own, those of all layers of an entry, or all."""

    LAYER = "layer"
    GROUP = "group"
    GLOBAL = "global"


@dataclass(frozen=True)
class LayerDensity:
    """Another density, or quality, for the layers whose name or module path matches `layer` (`*`, `?`, `[...]`).

    Without either the layers are left as they are.
    """

    layer: str
    density: float | None = None
    quality: float | None = None

    def __post_init__(self) -> None:
        if self.density is not None and self.quality is not None:
            raise fail("bad-value", f"the layers {self.layer!r} have a density or a quality, not both")
        if self.density is not None:
            check_density(f"density of the layers {self.layer!r}", self.density)
        if self.quality is not None:
            _check_quality(f"quality of the layers {self.layer!r}", self.quality)


@dataclass(frozen=True)
class Prune(Pass):
    """Set weights to 0 until the part `density` of them is left, those with the largest magnitudes; biases stay.

    With `quality` the weights of a layer stay whose magnitude is at least quality times the standard deviation of the
    layer's weights that are not 0; `density` then holds for none. Of several `layers` that match, the last counts. At
    least one weight is left. Of equal magnitudes those that come first are kept, in the graph's order of layers.

    >>> Prune(density=0.1, layers=(LayerDensity("conv1", 0.6),), scope=Scope.LAYER).density
    0.1
    """

    name: ClassVar[str] = "prune"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS, Weights.LATENT})
    density: float = 0.5
    quality: float | None = None
    layers: tuple[LayerDensity, ...] = ()
    scope: Scope = Scope.LAYER

    def __post_init__(self) -> None:
        check_density("density", self.density)
        if self.quality is not None:
            _check_quality("quality", self.quality)

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer` for entries that match no layer."""
        check_layers(graph, weighted_layers(graph), (entry.layer for entry in self.layers))

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the pruned graph; raises ToolError `unknown-layer`, `cannot-prune` and `not-finite`."""
        self.check(graph)
        check_finite(graph)
        changes: dict[str, Const] = {}
        for names, target in self._groups(graph):
            consts = [graph.const[name] for name in names]
            for const, kept in zip(consts, _kept([const.data for const in consts], target), strict=True):
                changes[const.name] = replace(const, data=torch.where(kept, const.data, 0.0))
        return verify(replace(graph, consts=tuple(changes.get(const.name, const) for const in graph.consts)))

    def _groups(self, graph: Graph) -> list[tuple[list[str], LayerDensity]]:
        """Names of the weights that are compared with each other, and how much of them stays."""
        groups: dict[int, tuple[list[str], LayerDensity]] = {}
        default = LayerDensity("*", None if self.quality is not None else self.density, self.quality)
        entries = (default, *self.layers)
        seen: set[str] = set()
        for node in weighted_layers(graph):
            place = max(i for i, entry in enumerate(entries) if i == 0 or matches(entry.layer, node))
            entry = entries[place]
            if entry.density is None and entry.quality is None:
                continue
            name = float_weight(graph, node)
            if name not in seen:
                seen.add(name)
                groups.setdefault(self._group(place, entry, len(seen)), ([], entry))[0].append(name)
        return list(groups.values())

    def _group(self, place: int, entry: LayerDensity, layer: int) -> int:
        """A number that is equal for weights in one group: a threshold holds for a layer on its own."""
        match self.scope:
            case Scope.GLOBAL if entry.quality is None:
                return -1
            case Scope.GROUP if entry.quality is None:
                return -2 - place
            case Scope.LAYER | Scope.GROUP | Scope.GLOBAL:
                return layer
            case _ as never:
                assert_never(never)


def float_weight(graph: Graph, node: Node) -> str:
    """Return the name of a layer's float weights, looked up through quantisers; raises ToolError `cannot-prune`."""
    name = node.args[1]
    while name in graph.node and graph.node[name].op.trained[:1] == (0,):
        name = graph.node[name].args[0]
    const = graph.const.get(name)
    if const is not None and isinstance(const.type.number, Float):
        return name
    number = graph.types[name].number
    why = f"are {number}" if const is not None else "are shared"
    raise fail("cannot-prune", f"the weights of %{node.name} {why}", node.loc, "put prune before share and quantise")


def check_density(what: str, density: float) -> None:
    """Raise ToolError `number-range` unless it is above 0 and at most 1."""
    if not 0 < density <= 1:
        raise fail("number-range", f"{what} must be above 0 and at most 1, not {density:g}")


def _check_quality(what: str, quality: float) -> None:
    if not 0 <= quality < float("inf"):
        raise fail("number-range", f"{what} must be at least 0, not {quality:g}")


def _kept(weights: Sequence[Tensor], target: LayerDensity) -> list[Tensor]:
    """Which weights of a group stay."""
    sizes = torch.cat([weight.detach().abs().reshape(-1) for weight in weights])
    if target.quality is not None:
        present = torch.cat([weight.detach().reshape(-1) for weight in weights])
        present = present[present != 0].to(torch.float64)
        threshold = target.quality * float(present.std(correction=0)) if len(present) else 0.0
        count = int((sizes.to(torch.float64) >= threshold).sum())
    else:
        assert target.density is not None
        count = round(target.density * len(sizes))
    kept = torch.zeros(len(sizes), dtype=torch.bool)
    kept[torch.sort(sizes, descending=True, stable=True).indices[: max(1, count)]] = True
    parts = kept.split([weight.numel() for weight in weights])
    return [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]
