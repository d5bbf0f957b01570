"""Dynamic fixed point: every value becomes integer codes with a binary point that calibration on real samples chose.

Formats come first, for the float graph; the integer form (`_integer.py`) then follows without further choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import ClassVar

from bitkiln.ir import Diagnostic, Graph, Int, Node, ToolError, exact_dtype, fail, known_names
from bitkiln.ir.ops import Clip, Concat, Conv2d, Linear, Relu, TopK
from bitkiln.ir.units import MOST_TABLE_BITS

from ._activations import (
    ACCUMULATING,
    MOVES,
    clipping_below,
    fused_activations,
    hoist_activations,
    rectifies,
    sole_source,
)
from ._base import Context, Keeps, Pass, Weights
from ._data import check_samples
from ._functions import host_tail, is_function, is_never_negative, is_product
from ._integer import IntegerForm
from ._quantisable import check_quantisable, expand_scale_shift
from ._shared import unshare
from ._weights import weight_number
from .calibrate import Calibration, calibrate

MIN_BITS, MAX_BITS = 2, 16
FUNCTION_INPUT_BITS = 2  # more than the result has


@dataclass(frozen=True)
class LayerBits:
    """Other widths for the layers whose name in the graph or module path matches `layer` (`*`, `?` and `[...]`)."""

    layer: str
    weight_bits: int | None = None
    activation_bits: int | None = None

    def __post_init__(self) -> None:
        for field, bits in (("weight_bits", self.weight_bits), ("activation_bits", self.activation_bits)):
            if bits is not None:
                check_bits(f"{field} of the layers {self.layer!r}", bits)


@dataclass(frozen=True)
class Quantise(Pass):
    """Turn a float graph into exact integers of 2 to 16 bits.

    `activation_bits` holds for the results inside the network, `output_bits` for the last layer's; what only functions
    (sigmoid, SiLU ...) read has two bits more, up to the ten that a table takes. Functions behind the last layer
    (softmax ...) stay in floats: the host computes them. Where `layers` has
    several entries for one layer, the last one that gives a width counts. `calibration` places the points of
    activations, `weight_calibration` (min_max or mse) those of weights, one an output channel if `per_channel`.

    >>> Quantise(weight_bits=4, layers=(LayerBits("conv1", weight_bits=8),)).weight_bits
    4
    """

    name: ClassVar[str] = "quantise"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS, Weights.SHARED})
    makes: ClassVar[Weights | None] = Weights.CODES
    weight_bits: int = 8
    activation_bits: int = 8
    input_bits: int = 8
    output_bits: int = 16
    calibration: Calibration = Calibration.MSE
    percentile: float = 99.99
    weight_calibration: Calibration = Calibration.MSE
    per_channel: bool = True
    layers: tuple[LayerBits, ...] = ()

    def __post_init__(self) -> None:
        check_bits("weight_bits", self.weight_bits)
        check_bits("activation_bits", self.activation_bits)
        check_bits("input_bits", self.input_bits)
        check_bits("output_bits", self.output_bits)
        if not 50.0 <= self.percentile <= 100.0:
            raise fail("number-range", f"percentile must be between 50 and 100, not {self.percentile:g}")
        if self.weight_calibration is Calibration.PERCENTILE:
            raise fail(
                "bad-value",
                "weight_calibration must be min_max or mse, not percentile",
                hint="a layer has too few weights to leave some out",
            )

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the integer graph; raises ToolError for unsupported operations, unfit samples and unknown layers."""
        graph = unshare(graph)
        check_quantisable(graph)
        check_samples(graph, context.calibration, "calibration data")
        graph = hoist_activations(expand_scale_shift(graph))
        widths = self._widths(graph)
        fused = fused_activations(graph)
        wanted = _wanted(graph, fused, widths, self._input_format(graph, context))
        chosen = calibrate(graph, context.calibration, wanted, self.calibration, self.percentile, context.progress)
        formats = _shared_formats(graph, _clipped_formats(graph, chosen))

        def weight_format(node: Node, x: Int) -> Int:
            return self._weight_format(graph, node, x, widths[node.name])

        quantised = IntegerForm(graph, fused, formats, weight_format).run()
        exact_dtype(quantised)  # raises if some accumulator is too wide to be evaluated exactly
        return quantised

    def _input_format(self, graph: Graph, context: Context) -> Int:
        return Int(self.input_bits, bool(context.calibration.min() < 0))

    def _widths(self, graph: Graph) -> Mapping[str, LayerBits]:
        """The widths of every node by its name, with no None left."""
        widths: dict[str, LayerBits] = {}
        outer = _output_layers(graph)
        unknown = set(self.layers)
        for node in graph.nodes:
            bits = LayerBits(
                node.name, self.weight_bits, self.output_bits if node.name in outer else self.activation_bits
            )
            for entry in self.layers:
                if _is_layer(node) and _matches(entry, node):
                    unknown.discard(entry)
                    bits = LayerBits(
                        node.name,
                        entry.weight_bits or bits.weight_bits,
                        entry.activation_bits or bits.activation_bits,
                    )
            widths[node.name] = bits
        if unknown:
            raise ToolError(*(_unknown_layer(graph, entry) for entry in self.layers if entry in unknown))
        return widths

    def _weight_format(self, graph: Graph, node: Node, x: Int, widths: LayerBits) -> Int:
        assert widths.weight_bits is not None
        weight = graph.const[node.args[1]].data
        bias = graph.const[node.args[2]].data if len(node.args) > 2 else None
        # A linear layer on [1, T, K] has its channels on the last axis, where requantisation has no points.
        per_channel = self.per_channel and not (isinstance(node.op, Linear) and len(node.type.shape) > 2)
        return weight_number(weight, bias, x, widths.weight_bits, per_channel, self.weight_calibration)


def check_bits(what: str, bits: int) -> None:
    """Raise ToolError `number-range` unless `bits` is a width that quantisation offers."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise fail("number-range", f"{what} must be between {MIN_BITS} and {MAX_BITS}, not {bits}")


def _is_layer(node: Node) -> bool:
    """True if the node has weights or a result format of its own, so that widths mean something."""
    return isinstance(node.op, (*ACCUMULATING, Concat))


def _matches(entry: LayerBits, node: Node) -> bool:
    return fnmatchcase(node.name, entry.layer) or fnmatchcase(node.loc.module, entry.layer)


def _unknown_layer(graph: Graph, entry: LayerBits) -> Diagnostic:
    layers = [node for node in graph.nodes if _is_layer(node)]
    known = {node.name for node in layers} | {node.loc.module for node in layers if node.loc.module}
    message = f"No layer of {graph.name} matches {entry.layer!r}"
    return Diagnostic("unknown-layer", message, hint=known_names(entry.layer, known))


def _output_layers(graph: Graph) -> set[str]:
    """Names of the values that only the outputs read, directly or through operations that keep the format."""
    outer: set[str] = set()
    tail = host_tail(graph)
    for node in reversed(graph.nodes):
        users = graph.users[node.name]
        keeps_format = all(
            user.name in tail
            or (isinstance(user.op, (*MOVES, Relu, Clip)) and user.name in outer)
            or isinstance(user.op, TopK)
            for user in users
        )
        if keeps_format and (users or node.name in graph.outputs):
            outer.add(node.name)
    return outer


def _wanted(
    graph: Graph, fused: Mapping[str, Node], widths: Mapping[str, LayerBits], input_format: Int
) -> dict[str, Int]:
    """Width and sign of each value that gets a point by calibration; a value that takes part of an activation along
    stands under the activation's name."""
    wanted = {value.name: input_format for value in graph.inputs}
    is_signed = {name: number.signed for name, number in wanted.items()}
    tail = host_tail(graph)
    for node in graph.nodes:
        last = fused.get(node.name, node)
        match node.op:
            case Linear() | Conv2d():
                signed = True
            case Relu() | Clip() if rectifies(node.op):
                signed = False
            case _ if is_function(graph, node) or is_product(graph, node):
                signed = not is_never_negative(graph, node, any(is_signed.get(arg, False) for arg in node.args))
            case _:
                signed = any(is_signed.get(arg, False) for arg in node.args)
        is_signed[node.name] = signed
        if node.name not in tail and (_is_layer(node) or is_function(graph, node) or is_product(graph, node)):
            bits = widths[node.name].activation_bits
            assert bits is not None
            if _feeds_functions(graph, last.name):
                bits = max(bits, min(bits + FUNCTION_INPUT_BITS, MOST_TABLE_BITS))
            wanted[last.name] = Int(bits, signed and not rectifies(last.op))
    return wanted


def _feeds_functions(graph: Graph, name: str) -> bool:
    """True if only functions read the value: then its own steps should not show behind theirs."""
    users = graph.users[name]
    return bool(users) and name not in graph.outputs and all(is_function(graph, user) for user in users)


def _clipped_formats(graph: Graph, formats: Mapping[str, Int]) -> dict[str, Int]:
    """The formats with the points of results that a Clip bounds below moved so that the format ends there."""
    return {
        name: clipping_below(number, graph.node[name].op) if name in graph.node else number
        for name, number in formats.items()
    }


def _shared_formats(graph: Graph, formats: Mapping[str, Int]) -> dict[str, Int]:
    """The formats where what only a concatenation reads has the concatenation's point, so that it is rounded once."""
    shared = dict(formats)
    for node in reversed(graph.nodes):
        if isinstance(node.op, Concat):
            common = shared[node.name]
            for source in (sole_source(graph, arg) for arg in node.args):
                if source and source.name in shared and _can_be(shared[source.name], common, source):
                    shared[source.name] = common
    return shared


def _can_be(number: Int, common: Int, source: Node) -> bool:
    """True if the result of `source` may be written in `common` instead of `number`: only the point differs."""
    return replace(number, frac=common.frac) == common == clipping_below(common, source.op)
