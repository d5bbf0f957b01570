"""Weight sharing: the weights of a layer become indices of a few bits into a table of centroids (Han et al. 2016).

The result is a `decode` of both before each layer, so the tables are ordinary float constants that `tune` trains: the
gradient of an entry is the sum over the weights that share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from bitkiln.ir import (
    Codebook,
    Const,
    Diagnostic,
    Float,
    Graph,
    Node,
    TensorType,
    ToolError,
    check_finite,
    fail,
)
from bitkiln.ir.ops import Decode

from ._base import Context, Keeps, Pass, Weights
from ._kmeans import Initialisation, Line, assign, cluster
from ._order import weights_of
from ._selection import check_layers, matches, weighted_layers
from ._shared import Names, with_shared

MIN_INDEX_BITS, MAX_INDEX_BITS = 1, 8


@dataclass(frozen=True)
class LayerShare:
    """Other index bits for the layers whose name or module path matches `layer` (`*`, `?`, `[...]`); None: unshared."""

    layer: str
    index_bits: int | None = None

    def __post_init__(self) -> None:
        if self.index_bits is not None:
            _check_bits(f"index_bits of the layers {self.layer!r}", self.index_bits)


@dataclass(frozen=True)
class Share(Pass):
    """Give the weights of each layer at most 2^index_bits different values, chosen by k-means.

    Weights of exactly 0 stay 0: where a layer has such, one index is theirs. `optimal` centroids have the least squared
    error where at most 4096 weights differ, and else settle from the optimum of so many cells; the other
    initialisations settle where Lloyd's iteration leads. Of several `layers` that match, the last counts. Layers with
    fewer than `joint_below` weights and equal index bits share one table. Biases stay as they are, or with `bias_bits`
    share one table of all layers: in a heavily pruned network they would take more room than many a layer's weights.

    >>> Share(index_bits=5, layers=(LayerShare("conv*", 8),), initialisation=Initialisation.LINEAR).index_bits
    5
    """

    name: ClassVar[str] = "share"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS})
    makes: ClassVar[Weights | None] = Weights.SHARED
    index_bits: int = 5
    layers: tuple[LayerShare, ...] = ()
    initialisation: Initialisation = Initialisation.OPTIMAL
    joint_below: int = 0
    bias_bits: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_bits("index_bits", self.index_bits)
        if self.bias_bits is not None:
            _check_bits("bias_bits", self.bias_bits)
        if self.joint_below < 0:
            raise fail("number-range", f"joint_below must be at least 0, not {self.joint_below}")

    def check(self, graph: Graph) -> None:
        """Raise ToolError `unknown-layer` for entries that match no layer, `too-many-centroids` for tables larger than
        their layers."""
        self._check_layers(graph)
        if weights_of(graph) is Weights.FLOATS:
            _check_sizes(self._groups(graph), lambda group: group.elements)

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the graph with shared weights.

        Raises ToolError `unknown-layer`, `cannot-share` (weights that are shared or fixed point already),
        `too-many-centroids` and `not-finite`.
        """
        groups = self._groups(graph)
        check_finite(graph)
        _check_sizes(groups, lambda group: len(torch.unique(group.weights)))
        seed = context.seed if self.seed is None else self.seed
        tables: list[tuple[_Group, _Table]] = []
        for i, group in enumerate(groups):
            context.progress("share", i / len(groups))
            tables.append((group, _table(group, self.initialisation, seed + i)))
        return _with_tables(graph, tables)

    def _check_layers(self, graph: Graph) -> None:
        check_layers(graph, weighted_layers(graph), (entry.layer for entry in self.layers))

    def _groups(self, graph: Graph) -> list[_Group]:
        """The weights that get one table each, in the graph's order."""
        bits = self._bits(graph)
        joint: dict[int, list[Const]] = {}
        groups: list[_Group] = []
        for name, width in bits.items():
            const = graph.const[name]
            if const.type.elements < self.joint_below:
                joint.setdefault(width, []).append(const)
            else:
                groups.append(_Group((const,), width))
        groups += [_Group(tuple(consts), width) for width, consts in joint.items()]
        biases = _biases(graph) if self.bias_bits is not None else ()
        return [*groups, _Group(biases, self.bias_bits)] if biases and self.bias_bits is not None else groups

    def _bits(self, graph: Graph) -> dict[str, int]:
        """Index bits of each constant that is to be shared."""
        self._check_layers(graph)
        bits: dict[str, int] = {}
        for node in weighted_layers(graph):
            matching = [entry.index_bits for entry in self.layers if matches(entry.layer, node)]
            width = matching[-1] if matching else self.index_bits
            if width is not None:
                bits.setdefault(_float_weight(graph, node), width)
        return bits


@dataclass(frozen=True, eq=False)
class _Group:
    """Constants with a common table."""

    consts: tuple[Const, ...]
    index_bits: int

    @property
    def name(self) -> str:
        return self.consts[0].name

    @property
    def elements(self) -> int:
        return sum(const.type.elements for const in self.consts)

    @property
    def weights(self) -> torch.Tensor:
        """All weights, flat."""
        return torch.cat([const.data.detach().reshape(-1) for const in self.consts])


@dataclass(frozen=True, eq=False)
class _Table:
    """Centroids in rising order, without the 0 of index 0 if `has_zero`, and the indices of each constant."""

    centroids: np.ndarray[tuple[int, ...], np.dtype[np.floating]]
    has_zero: bool
    indices: tuple[torch.Tensor, ...]


def _check_bits(what: str, bits: int) -> None:
    if not MIN_INDEX_BITS <= bits <= MAX_INDEX_BITS:
        raise fail("number-range", f"{what} must be between {MIN_INDEX_BITS} and {MAX_INDEX_BITS}, not {bits}")


def _biases(graph: Graph) -> tuple[Const, ...]:
    """The float biases of layers with weights, in the graph's order."""
    names = [node.args[2] for node in weighted_layers(graph) if len(node.args) > 2]
    consts = [graph.const[name] for name in dict.fromkeys(names) if name in graph.const]
    return tuple(const for const in consts if isinstance(const.type.number, Float))


def _float_weight(graph: Graph, node: Node) -> str:
    """The name of the layer's weights, which must be a float constant."""
    name = node.args[1]
    const = graph.const.get(name)
    if const is not None and isinstance(const.type.number, Float):
        return name
    if name in graph.node and isinstance(graph.node[name].op, Decode):
        why = "are shared already"
    else:
        why = f"are {graph.types[name].number}, and no constant floats" if const is None else "are fixed point already"
    raise fail("cannot-share", f"the weights of %{node.name} {why}", node.loc, "put share before quantise, and once")


def _check_sizes(groups: Sequence[_Group], distinct: Callable[[_Group], int]) -> None:
    """Raise ToolError `too-many-centroids` with a finding for each group with fewer distinct weights than centroids."""
    findings = [_too_many(group, found) for group in groups if (found := distinct(group)) < 1 << group.index_bits]
    if findings:
        raise ToolError(*findings)


def _too_many(group: _Group, distinct: int) -> Diagnostic:
    names = ", ".join(const.name for const in group.consts)
    wanted = 1 << group.index_bits
    message = f"{names} has {distinct} distinct weights, fewer than the {wanted} centroids of {group.index_bits} bits"
    fitting = max(1, distinct.bit_length() - 1)
    hint = f"set index_bits to {fitting} or less for it, or leave it unshared" if distinct > 1 else "leave it unshared"
    return Diagnostic("too-many-centroids", message, hint=hint)


def _table(group: _Group, initialisation: Initialisation, seed: int) -> _Table:
    weights = group.weights.numpy()
    is_kept = weights != 0
    has_zero = not bool(is_kept.all())
    count = (1 << group.index_bits) - has_zero
    centroids = cluster(Line.of(weights[is_kept]), count, initialisation, seed).astype(weights.dtype)
    places = assign(weights, centroids.astype(np.float64))
    if has_zero:
        places = np.where(is_kept, places + 1, 0).astype(np.uint8)
    flat = torch.from_numpy(places).split([const.type.elements for const in group.consts])
    shaped = tuple(part.reshape(const.type.shape).clone() for part, const in zip(flat, group.consts, strict=True))
    return _Table(centroids, has_zero, shaped)


def _with_tables(graph: Graph, tables: Sequence[tuple[_Group, _Table]]) -> Graph:
    """The graph with indices under the weights' names, a table a group, and a decode before each first use."""
    names = Names(set(graph.types))
    consts: list[Const] = []
    decodes: dict[str, Node] = {}
    for group, table in tables:
        number = Codebook(group.index_bits, _entries(group))
        entries = Const(
            names.new(f"{group.name}.table"),
            TensorType((len(table.centroids),), number.entries),
            torch.from_numpy(table.centroids),
        )
        consts.append(entries)
        for const, indices in zip(group.consts, table.indices, strict=True):
            consts.append(Const(const.name, TensorType(const.type.shape, number), indices))
            op, args = Decode(table.has_zero), (const.name, entries.name)
            decodes[const.name] = Node(names.new(f"{const.name}.decoded"), op, args, const.type)
    return with_shared(graph, consts, decodes)


def _entries(group: _Group) -> Float:
    number = group.consts[0].type.number
    assert isinstance(number, Float)
    return number
