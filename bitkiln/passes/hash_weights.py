"""HashedNets: each layer keeps a few values, and a hash says which of them each weight is (Chen et al., ICML 2015).

Nothing but the values is stored. Unlike clustering this does not look at the weights, so the network is to be trained
behind it; the gradient of a value is the sum over its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, assert_never

import torch
from torch import Tensor

from bitkiln.ir import Const, Graph, Node, TensorType, check_finite, fail
from bitkiln.ir.ops import HashedWeight

from ._base import Context, Keeps, Pass, Weights
from ._selection import check_layers, matches, weighted_layers
from ._shared import Names, with_shared
from .prune import check_density, float_weight


class HashStart(Enum):
    """What the values are before training.

    DRAWN: normal numbers with the variance of the layer's weights, as for a new network. PROJECTED: the mean of the
    weights that share one, with their signs, which is nearest to the layer as it is; the fewer values there are, the
    smaller they are.
    """

    DRAWN = "drawn"
    PROJECTED = "projected"


@dataclass(frozen=True)
class LayerHash:
    """Another density for the layers whose name or module path matches `layer`; 1 leaves the layer as it is."""

    layer: str
    density: float

    def __post_init__(self) -> None:
        check_density(f"density of the layers {self.layer!r}", self.density)


@dataclass(frozen=True)
class HashWeights(Pass):
    """Leave round(density * weights) values of each layer, at least one; biases stay.

    Of several `layers` that match, the last counts. Put `tune` behind it. The seed (else the context's) gives the hash
    of the first layer, and the next numbers those of the others; it is kept in the graph.

    >>> HashWeights(density=1 / 16, layers=(LayerHash("conv1", 1.0),), start=HashStart.PROJECTED).density
    0.0625
    """

    name: ClassVar[str] = "hash_weights"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS})
    makes: ClassVar[Weights | None] = Weights.SHARED
    density: float = 0.125
    layers: tuple[LayerHash, ...] = ()
    start: HashStart = HashStart.DRAWN
    seed: int | None = None

    def __post_init__(self) -> None:
        check_density("density", self.density)
        if self.seed is not None and not 0 <= self.seed < 1 << 31:
            raise fail("number-range", f"seed must be from 0 to {(1 << 31) - 1}, not {self.seed}")

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer` for entries that match no layer."""
        check_layers(graph, weighted_layers(graph), (entry.layer for entry in self.layers))

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with hashed weights; raises ToolError `unknown-layer`, `cannot-prune` and `not-finite`."""
        self.check(graph)
        check_finite(graph)
        first = (context.seed if self.seed is None else self.seed) % (1 << 31)
        generator = torch.Generator().manual_seed(first)
        names, consts, decodes = Names(set(graph.types)), list[Const](), dict[str, Node]()
        for node in weighted_layers(graph):
            density = [self.density, *(entry.density for entry in self.layers if matches(entry.layer, node))][-1]
            name = float_weight(graph, node)
            if density < 1 and name not in decodes:
                weight = graph.const[name]
                size = max(1, round(weight.type.elements * density))
                op = HashedWeight(weight.type.shape, first + len(decodes))
                table = self._table(weight.data.detach(), op, size, generator)
                consts.append(Const(name, TensorType((size,), weight.type.number), table))
                decodes[name] = Node(names.new(f"{name}.hashed"), op, (name,), weight.type)
        return with_shared(graph, consts, decodes)

    def _table(self, weight: Tensor, op: HashedWeight, size: int, generator: torch.Generator) -> Tensor:
        match self.start:
            case HashStart.DRAWN:
                drawn = torch.randn(size, generator=generator) * weight.to(torch.float64).square().mean().sqrt()
                return drawn.to(weight.dtype)
            case HashStart.PROJECTED:
                places, signs = op.places(size)
                values = weight.reshape(-1).to(torch.float64) * signs
                sums = torch.zeros(size, dtype=torch.float64).index_add_(0, places, values)
                return (sums / torch.bincount(places, minlength=size).clamp(min=1)).to(weight.dtype)
            case _ as never:
                assert_never(never)
