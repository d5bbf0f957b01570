"""What a network consists of: its layers with their shapes, parameters and work, and what of it cannot be built.

Two counts differ from sums over the layers. `params` are the model's own parameters: a Graph also holds computed
constants, and lacks the weights of a training-only branch. `macs` are those of the model as it is written, with the
work that import has done once and for all (`folded_macs`); so both equal what model zoos publish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from torch import nn

from bitkiln.ir import Graph, Node, ToolError
from bitkiln.passes import check_quantisable

from ._aten import RULES
from ._lower import lower_counting
from ._program import Program
from .torch_import import Imported, read_module


@dataclass(frozen=True)
class LayerRow:
    """One node. The weights' range is that of its constants; None if it has none or they were not read."""

    name: str
    op: str
    type: str
    params: int
    macs: int
    weight_min: float | None
    weight_max: float | None
    place: str


@dataclass(frozen=True)
class Obstacle:
    """A node that a backend cannot build, where it stands in the model, and why."""

    name: str
    place: str
    reason: str


@dataclass(frozen=True)
class LayerTable:
    """The whole network; `unsupported` has an entry for each backend."""

    name: str
    params: int
    macs: int
    folded_macs: int
    nodes: tuple[LayerRow, ...]
    unsupported: Mapping[str, tuple[Obstacle, ...]]

    def to_plain(self) -> dict[str, object]:
        """Dicts and lists for JSON."""
        return asdict(self)


# For each backend, what raises ToolError with one finding for every node that it cannot build. The simulator of shared
# engines takes every graph.
BACKENDS: Mapping[str, Callable[[Graph], None]] = {"simulate": lambda graph: None, "rtl": check_quantisable}


def layer_table(imported: Imported) -> LayerTable:
    """Return the table of an imported network."""
    return _table(imported, reads_weights=True)


def program_table(program: Program) -> LayerTable:
    """Return the table of a program as it was traced. No weight is read, so nothing is folded into the layers."""
    graph, folded_macs = lower_counting(program, RULES)
    return _table(Imported(graph, program.parameters, folded_macs), reads_weights=False)


def shape_table(module: nn.Module, input_shape: tuple[int, ...], name: str) -> LayerTable:
    """Return the table of a module whose weights may be missing (see SkipInitialisation)."""
    return program_table(read_module(module, input_shape, name))


def _table(imported: Imported, reads_weights: bool) -> LayerTable:
    graph = imported.graph
    return LayerTable(
        graph.name,
        imported.params,
        graph.total_macs + imported.folded_macs,
        imported.folded_macs,
        tuple(_row(graph, node, reads_weights) for node in graph.nodes),
        {backend: _obstacles(graph, check) for backend, check in BACKENDS.items()},
    )


def _row(graph: Graph, node: Node, reads_weights: bool) -> LayerRow:
    consts = [graph.const[arg] for arg in node.args if arg in graph.const]
    ranges = [const.data.aminmax() for const in consts if reads_weights]
    return LayerRow(
        node.name,
        node.op.name,
        str(node.type),
        sum(const.type.elements for const in consts),
        graph.macs(node),
        min((float(low) for low, _ in ranges), default=None),
        max((float(high) for _, high in ranges), default=None),
        str(node.loc),
    )


def _obstacles(graph: Graph, check: Callable[[Graph], None]) -> tuple[Obstacle, ...]:
    try:
        check(graph)
    except ToolError as error:
        return tuple(
            Obstacle(_subject(found.message), str(found.location), found.message) for found in error.diagnostics
        )
    return ()


def _subject(message: str) -> str:
    """The value that a finding begins with: `%name: reason`."""
    name, separator, _ = message.partition(":")
    return name.removeprefix("%") if separator and name.startswith("%") else ""
