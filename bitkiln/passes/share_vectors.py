"""Vector quantisation of weights: sub-vectors of each row become indices into codebooks (Gong et al. 2014).

Product quantisation has a codebook for each segment of the rows; residual quantisation adds further levels, each of
which clusters what the ones before leave. The result is a `decode_vectors` before each layer; `tune` trains the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bitkiln.ir import Codebook, Const, Diagnostic, Float, Graph, Node, TensorType, ToolError, check_finite, fail
from bitkiln.ir.ops import DecodeVectors

from ._base import Context, Keeps, Pass, Weights
from ._order import weights_of
from ._selection import check_layers, matches, weighted_layers
from ._shared import Names, with_shared
from ._vector_kmeans import cluster_vectors
from .prune import float_weight

MIN_INDEX_BITS, MAX_INDEX_BITS = 1, 12


@dataclass(frozen=True)
class LayerVectors:
    """Other vectors for the layers whose name or module path matches `layer` (`*`, `?`, `[...]`).

    A `dimension` of 0 leaves the layers as they are. None: what holds for all.
    """

    layer: str
    dimension: int | None = None
    index_bits: int | None = None

    def __post_init__(self) -> None:
        if self.dimension is not None and self.dimension < 0:
            raise fail("number-range", f"dimension of the layers {self.layer!r} must be at least 0")
        if self.index_bits is not None:
            _check_bits(f"index_bits of the layers {self.layer!r}", self.index_bits)


@dataclass(frozen=True)
class ShareVectors(Pass):
    """Cut the rows of each layer's weights into segments of `dimension`, and share 2^index_bits vectors among them.

    With `is_common` all segments of a layer have one codebook, else each its own, which pays in layers with many rows.
    `levels` codebooks are added up (residual quantisation). Biases stay. Of several `layers` that match, the last
    counts.

    >>> ShareVectors(dimension=8, index_bits=8, levels=2, layers=(LayerVectors("conv*", 0),)).is_common
    True
    """

    name: ClassVar[str] = "share_vectors"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS})
    makes: ClassVar[Weights | None] = Weights.SHARED
    dimension: int = 4
    index_bits: int = 6
    levels: int = 1
    is_common: bool = True
    layers: tuple[LayerVectors, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        for what, count in (("dimension", self.dimension), ("levels", self.levels)):
            if count < 1:
                raise fail("number-range", f"{what} must be at least 1, not {count}")
        _check_bits("index_bits", self.index_bits)

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer` for entries that match no layer, `too-many-centroids` for codebooks larger
        than what they are for."""
        check_layers(graph, weighted_layers(graph), (entry.layer for entry in self.layers))
        if weights_of(graph) is Weights.FLOATS:
            self._check_sizes(self._cut(graph), count=len)

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with shared vectors.

        Raises ToolError `unknown-layer`, `cannot-prune` (weights that are no floats), `too-many-centroids` and
        `not-finite`.
        """
        check_layers(graph, weighted_layers(graph), (entry.layer for entry in self.layers))
        check_finite(graph)
        wanted = self._wanted(graph)
        cut = self._cut(graph)
        self._check_sizes(cut, count=lambda part: len(torch.unique(part, dim=0)))
        generator = torch.Generator().manual_seed(context.seed if self.seed is None else self.seed)
        names, consts, decodes = Names(set(graph.types)), list[Const](), dict[str, Node]()
        for at, (name, (size, bits)) in enumerate(wanted.items()):
            context.progress("share_vectors", at / len(wanted))
            weight = graph.const[name]
            indices, table = self._quantised(cut[name][0], bits, generator)
            number = weight.type.number
            entries = Const(names.new(f"{name}.table"), TensorType((len(table),), number), table)
            assert isinstance(number, Float)
            indexed = TensorType(tuple(indices.shape), Codebook(bits, number))
            consts += [Const(name, indexed, indices), entries]
            op = DecodeVectors(weight.type.shape, size, self.is_common)
            decodes[name] = Node(names.new(f"{name}.decoded"), op, (name, entries.name), weight.type)
        return with_shared(graph, consts, decodes)

    def _wanted(self, graph: Graph) -> dict[str, tuple[int, int]]:
        """Dimension and index bits for each weight that is to be shared."""
        wanted: dict[str, tuple[int, int]] = {}
        for node in weighted_layers(graph):
            found = [entry for entry in self.layers if matches(entry.layer, node)][-1:]
            size = found[0].dimension if found and found[0].dimension is not None else self.dimension
            bits = found[0].index_bits if found and found[0].index_bits is not None else self.index_bits
            if size:
                wanted.setdefault(float_weight(graph, node), (size, bits))
        return wanted

    def _cut(self, graph: Graph) -> dict[str, tuple[Tensor, int]]:
        """Vectors [rows, segments, d] of each weight, and index bits."""
        wanted = self._wanted(graph)
        return {name: (_segments(graph.const[name].data.detach(), size), bits) for name, (size, bits) in wanted.items()}

    def _check_sizes(self, cut: Mapping[str, tuple[Tensor, int]], count: Callable[[Tensor], int]) -> None:
        """Raise ToolError for codebooks with more centroids than vectors, as `count` counts those [n, d]."""
        findings = []
        for name, (vectors, bits) in cut.items():
            parts = [vectors.reshape(-1, vectors.shape[2])] if self.is_common else list(vectors.unbind(1))
            found = min(count(part) for part in parts)
            if found < 1 << bits:
                findings.append(_too_many(name, found, bits))
        if findings:
            raise ToolError(*findings)

    def _quantised(self, vectors: Tensor, bits: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices [levels, rows, segments] and the flat table for vectors [rows, segments, d]."""
        rows, segments, size = vectors.shape
        indices, tables, left = [], [], vectors
        for _ in range(self.levels):
            parts = [left.reshape(-1, size)] if self.is_common else list(left.unbind(1))
            found = [cluster_vectors(part, 1 << bits, generator) for part in parts]
            places = torch.stack([place for _, place in found], 1).reshape(rows, segments)
            level = torch.stack([centroids for centroids, _ in found])
            chosen = [centroids[place] for centroids, place in found]
            left = left - (chosen[0].reshape(left.shape) if self.is_common else torch.stack(chosen, 1))
            indices.append(places)
            tables.append(level.reshape(-1))
        stored = torch.uint8 if bits <= 8 else torch.int32
        return torch.stack(indices).to(stored), torch.cat(tables)


def _check_bits(what: str, bits: int) -> None:
    if not MIN_INDEX_BITS <= bits <= MAX_INDEX_BITS:
        raise fail("number-range", f"{what} must be between {MIN_INDEX_BITS} and {MAX_INDEX_BITS}, not {bits}")


def _segments(weight: Tensor, size: int) -> Tensor:
    """The rows of a weight cut into vectors [rows, segments, size], the last ones filled up with zeros."""
    rows = weight.reshape(weight.shape[0], -1)
    spare = -rows.shape[1] % size
    return torch.nn.functional.pad(rows, (0, spare)).reshape(len(rows), -1, size)


def _too_many(name: str, distinct: int, bits: int) -> Diagnostic:
    message = f"{name} has {distinct} distinct vectors in a codebook, fewer than {1 << bits} centroids of {bits} bits"
    hint = f"set index_bits to {max(1, distinct.bit_length() - 1)} or less for it, or dimension to 0 to leave it"
    return Diagnostic("too-many-centroids", message, hint=hint)
