"""What a network consists of: its layers with their shapes, parameters and work, and what of it cannot be built.

Two counts differ from sums over the layers. `params` are the model's own parameters: a Graph also holds computed
constants, and lacks the weights of a training-only branch. `macs` are those of the model as it is written, with the
work that import has done once and for all (`folded_macs`); so both equal what model zoos publish.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from torch import nn

from bitkiln.hdl.hls.kernels import check_kernels
from bitkiln.ir import Diagnostic, Graph, Node, ToolError, fail, is_quantised
from bitkiln.passes import check_quantisable
from bitkiln.passes.schedule import PlanOptions, schedule

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

    @property
    def weights(self) -> str:
        """The range as text, empty without weights."""
        has_none = self.weight_min is None or self.weight_max is None
        return "" if has_none else f"{self.weight_min:.4g} to {self.weight_max:.4g}"


@dataclass(frozen=True)
class Obstacle:
    """A node that a backend cannot build, where it stands in the model, and why. Without a name and a place it is the
    network as a whole."""

    name: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.place})" if self.place else self.reason


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


def _check_simulate(graph: Graph) -> None:
    """Described accelerators take every graph: what does not multiply costs them no cycles of the array."""
    if graph.total_macs == 0:
        raise fail("empty-workload", "no layer multiplies, so there is nothing to simulate")


def _check_rtl(graph: Graph) -> None:
    """A quantised graph is planned; of a float graph each node must have an integer form, which `quantise` makes."""
    if is_quantised(graph):
        schedule(graph, PlanOptions())
        return
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        count = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
        raise fail("unsupported-graph", f"the network has {count}; hardware has one stream in and one out")
    check_quantisable(graph)


def _check_hls(graph: Graph) -> None:
    """As RTL: both are made of the same units; and a planned graph's units must have kernels."""
    _check_rtl(graph)
    if is_quantised(graph):
        check_kernels(schedule(graph, PlanOptions()))


_VALUE = re.compile(r"%([A-Za-z0-9_.\-]*[A-Za-z0-9_\-])")

# For each backend, what raises ToolError with one finding for every node that it cannot build.
BACKENDS: Mapping[str, Callable[[Graph], None]] = {
    "simulate": _check_simulate,
    "rtl": _check_rtl,
    "hls": _check_hls,
}


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
        return tuple(_obstacle(graph, found) for found in error.diagnostics)
    return ()


def _obstacle(graph: Graph, found: Diagnostic) -> Obstacle:
    """Findings name their value: `%name: reason`, or `no unit takes %name (op): reason`."""
    name = next((name for name in _VALUE.findall(found.message) if name in graph.node), "")
    return Obstacle(name, str(found.location), found.message.removeprefix(f"%{name}: "))
