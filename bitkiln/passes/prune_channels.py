"""Structured pruning: whole filters, channels and neurons go, and the tensors become smaller.

What must go together is read off the graph's edges (`channel_groups.groups`), so the result needs no masks: it is a
smaller network of the same form, and runs faster on anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, assert_never

import numpy as np

from bitkiln.ir import Diagnostic, Graph, Node, ToolError, check_finite, fail, known_names

from ._base import Context, Keeps, Pass, Weights
from ._channel_cut import emptied, without
from ._channels import Channels
from ._data import check_labels, check_samples
from ._importance import Criterion, Scores, importance
from ._quantisable import has_codes
from ._selection import check_layers, matches, weighted_layers
from ._shared import unshare
from ._units import Labels
from .accuracy import class_count
from .channel_groups import ChannelGroup, channel_groups, groups
from .prune import Scope, check_density


@dataclass(frozen=True)
class LayerChannels:
    """Another density for the layers whose name or module path matches `layer` (`*`, `?`, `[...]`); 1 keeps all."""

    layer: str
    density: float

    def __post_init__(self) -> None:
        check_density(f"density of the layers {self.layer!r}", self.density)


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Keep the share `density` of the channels of each coupled group, those that matter most by `criterion`.

    With `scope` GROUP, groups under one entry of `layers` compete, with GLOBAL all that no entry names: of their
    channels together the share stays, by scores relative to their group's mean. Of several `layers` that match a
    group's makers, the last counts. Each group keeps a multiple of `round_to` channels (rounded to the nearest, at
    least one multiple) or all. Inputs and outputs are never cut. `samples` of the training data serve `taylor`.

    >>> PruneChannels(density=0.5, criterion=Criterion.L2, layers=(LayerChannels("conv1", 1.0),), round_to=8).density
    0.5
    """

    name: ClassVar[str] = "prune_channels"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS})
    density: float = 0.5
    layers: tuple[LayerChannels, ...] = ()
    criterion: Criterion = Criterion.L1
    scope: Scope = Scope.LAYER
    round_to: int = 1
    samples: int = 512
    seed: int | None = None

    def __post_init__(self) -> None:
        check_density("density", self.density)
        for what, count in (("round_to", self.round_to), ("samples", self.samples)):
            if count < 1:
                raise fail("number-range", f"{what} must be at least 1, not {count}")

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the smaller graph.

        Raises ToolError `unknown-layer`, `cannot-prune` (codes or shared weights, layers whose channels cannot be cut),
        `not-finite`, and for `taylor` what is wrong with the training data.
        """
        self.check(graph)
        check_finite(graph)
        channels = Channels.of(graph)
        if self.criterion is Criterion.TAYLOR:
            check_samples(graph, context.train_x, "training data")
            check_labels(context.train_x, context.train_y, class_count(graph), "training data")
        seed = context.seed if self.seed is None else self.seed
        scores = importance(channels, self.criterion, context, self.samples, seed)
        removed = self._removed(channels, scores)
        while len(spared := emptied(channels, removed)):
            best = spared[np.argmax(scores[spared])]
            removed = removed[removed != best]
        return without(channels, removed) if len(removed) else graph

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer`, or `cannot-prune` for codes, shared weights and outputs."""
        hint = "put prune_channels before share and quantise"
        if has_codes(unshare(graph)):
            raise fail("cannot-prune", f"{graph.name} is fixed point already", hint=hint)
        if unshare(graph) is not graph:
            raise fail("cannot-prune", f"the weights of {graph.name} are shared already", hint=hint)
        layers = weighted_layers(graph)
        check_layers(graph, layers, (entry.layer for entry in self.layers))
        cut = {maker for group in groups(graph) for maker in group.makers}
        findings = [found for entry in self.layers if (found := _finding(layers, cut, entry))]
        if findings:
            raise ToolError(*findings)

    def _removed(self, channels: Channels, scores: Scores) -> Labels:
        """The units that go, the least important of each group."""
        groups = channel_groups(channels)
        kept = self._kept_counts(channels.graph, groups, scores)
        parts = [
            np.array(group.units)[np.argsort(scores[list(group.units)], kind="stable")[: group.size - count]]
            for group, count in zip(groups, kept, strict=True)
        ]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))

    def _kept_counts(self, graph: Graph, groups: Sequence[ChannelGroup], scores: Scores) -> list[int]:
        """How many channels each group keeps: those above the threshold of all that compete."""
        entries = (LayerChannels("*", self.density), *self.layers)
        places = [self._entry(graph, group) for group in groups]
        relative = [scores[list(group.units)] / max(scores[list(group.units)].mean(), 1e-300) for group in groups]
        rivals = [self._rivals(at, places) for at in range(len(groups))]
        counts = []
        for at, group in enumerate(groups):
            every = np.sort(np.concatenate([relative[other] for other in rivals[at]]))[::-1]
            wanted = max(1, round(len(every) * entries[places[at]].density))
            is_alone = len(rivals[at]) == 1
            counts.append(self._rounded(wanted if is_alone else (relative[at] >= every[wanted - 1]).sum(), group.size))
        return counts

    def _rivals(self, at: int, places: Sequence[int]) -> list[int]:
        """The groups that compete with one, itself among them."""
        match self.scope:
            case Scope.GLOBAL if places[at] > 0:
                return [at]
            case Scope.LAYER:
                return [at]
            case Scope.GROUP | Scope.GLOBAL:
                return [other for other, place in enumerate(places) if place == places[at]]
            case _ as never:
                assert_never(never)

    def _rounded(self, wanted: float, size: int) -> int:
        return min(size, max(1, round(wanted / self.round_to)) * self.round_to)

    def _entry(self, graph: Graph, group: ChannelGroup) -> int:
        """Which of `layers` holds, counted from 1; 0 for none."""
        makers = [graph.node[name] for name in group.makers]
        return max(
            (at for at, entry in enumerate(self.layers, 1) if any(matches(entry.layer, node) for node in makers)),
            default=0,
        )


def _finding(layers: Sequence[Node], cut: set[str], entry: LayerChannels) -> Diagnostic | None:
    """What is wrong with an entry that names only layers whose channels cannot be cut."""
    found = [node.name for node in layers if matches(entry.layer, node)]
    if entry.density == 1 or not cut.isdisjoint(found):
        return None
    message = f"the channels of %{', %'.join(found)} cannot be cut: they reach an output, or what needs them all"
    return Diagnostic("cannot-prune", message, hint=known_names("", cut))
