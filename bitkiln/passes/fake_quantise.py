"""Quantisers for training: a float graph computes with the values that its integer form will have.

`tune` then trains weights, steps and scales through them, and `harden` makes integers of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from bitkiln.ir import Graph, Node, check_finite, evaluate, fail
from bitkiln.ir.ops import ActivationQuantiser, Add, Conv2d, Linear, MaxPool2d
from bitkiln.ir.ops.trained_activations import MAX_ACTIVATION_BITS
from bitkiln.ir.ops.trained_bases import MAX_BASES
from bitkiln.ir.ops.trained_uniform import MAX_LOG_BITS

from ._activations import MOVES
from ._base import Context, Keeps, Pass, Weights
from ._data import check_samples
from ._methods import (
    ActivationMethod,
    Quantiser,
    WeightMethod,
    activation_quantiser,
    float_weight,
    weight_quantiser,
    with_quantisers,
)
from ._quantisable import has_codes
from ._selection import check_layers, matches
from .accuracy import scores_name

_OBSERVED_SAMPLES = 256

_WEIGHT_BITS: Mapping[WeightMethod, tuple[int, int]] = {
    **dict.fromkeys((WeightMethod.LQ, WeightMethod.HORQ), (1, MAX_BASES)),
    WeightMethod.ABC: (1, MAX_BASES + 1),
    WeightMethod.LOG: (2, MAX_LOG_BITS),
    WeightMethod.DOREFA: (1, 16),
}
"""Least and most bits, or bases; 2 to 16 for the others."""

_ACTIVATION_BITS: Mapping[ActivationMethod, tuple[int, int]] = {
    ActivationMethod.LQ: (1, MAX_BASES),
    ActivationMethod.ABC: (1, MAX_BASES + 1),
    ActivationMethod.DOREFA: (1, MAX_ACTIVATION_BITS),
}
"""The same for activations; 2 to 12 for the others."""


@dataclass(frozen=True)
class LayerMethod:
    """Other methods and widths for the layers whose name or module path matches `layer` (`*`, `?`, `[...]`).

    The activations of a layer are its inputs.
    """

    layer: str
    weights: WeightMethod | None = None
    weight_bits: int | None = None
    activations: ActivationMethod | None = None
    activation_bits: int | None = None


@dataclass(frozen=True)
class FakeQuantise(Pass):
    """Give weights, and the inputs of the layers that have them, quantisers to be trained with.

    `weight_bits` and `activation_bits` are widths, or for lq, abc and horq numbers of binary bases. Scales are one an
    output channel if `per_channel`; dorefa, log, ttq and abc have one for all. Both inputs of an addition are quantised
    as well. With `output_bits` the outputs are quantised, too, so that the hardened graph ends in codes; else what
    follows the last exact sum stays in floats. Of several `layers` that match, the last that gives a value counts.
    Weights and values that are quantised already stay as they are.

    >>> FakeQuantise(WeightMethod.TTQ, activations=ActivationMethod.LSQ, activation_bits=4).weights
    <WeightMethod.TTQ: 'ttq'>
    """

    name: ClassVar[str] = "fake_quantise"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS, Weights.LATENT})
    makes: ClassVar[Weights | None] = Weights.LATENT
    weights: WeightMethod = WeightMethod.LSQ
    weight_bits: int = 8
    activations: ActivationMethod = ActivationMethod.LSQ
    activation_bits: int = 8
    input_bits: int = 8
    output_bits: int | None = None
    per_channel: bool = True
    layers: tuple[LayerMethod, ...] = ()

    def __post_init__(self) -> None:
        for what, bits in (("input_bits", self.input_bits), ("output_bits", self.output_bits)):
            if bits is not None:
                _check_bits(what, bits, 2, MAX_ACTIVATION_BITS)
        _check_methods("", self._default)
        for entry in self.layers:
            _check_methods(f" of the layers {entry.layer!r}", _merged(self._default, entry))

    def check(self, graph: Graph) -> None:
        check_layers(graph, layers_of(graph), [entry.layer for entry in self.layers])

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the float graph with quantisers; raises ToolError `already-quantised`, `unknown-layer`, `not-finite`,
        `no-weights` and what is wrong with the samples."""
        check_trainable(graph, self.name)
        check_samples(graph, context.calibration, "calibration data")
        chosen = self._chosen(graph)
        if not chosen:
            raise fail("no-weights", f"{graph.name} has no layer with weights")
        weights: dict[str, Quantiser] = {}
        for node in layers_of(graph):
            const, choice = float_weight(graph, node), chosen[node.name]
            assert choice.weights is not None and choice.weight_bits is not None
            if const is not None and const.name not in weights:
                found = weight_quantiser(choice.weights, choice.weight_bits, self.per_channel, const.data)
                if found is not None:
                    weights[const.name] = found
        return with_quantisers(graph, weights, self._activations(graph, context.calibration, chosen))

    def _method(self, graph: Graph, source: str, method: ActivationMethod, bits: int) -> tuple[ActivationMethod, int]:
        """Method and width of a value; the network's inputs have learned steps whatever follows."""
        if source in graph.node or method is ActivationMethod.NONE:
            return method, bits
        return _with_learned_step(method), self.input_bits

    @property
    def _default(self) -> LayerMethod:
        return LayerMethod("", self.weights, self.weight_bits, self.activations, self.activation_bits)

    def _chosen(self, graph: Graph) -> Mapping[str, LayerMethod]:
        """Methods and widths of each layer, with no None left."""
        layers = layers_of(graph)
        check_layers(graph, layers, [entry.layer for entry in self.layers])
        chosen: dict[str, LayerMethod] = {}
        for node in layers:
            chosen[node.name] = self._default
            for entry in self.layers:
                if matches(entry.layer, node):
                    chosen[node.name] = _merged(chosen[node.name], entry)
        return chosen

    def _activations(self, graph: Graph, samples: Tensor, chosen: Mapping[str, LayerMethod]) -> Mapping[str, Quantiser]:
        """The quantiser of each value that a layer or an addition reads."""
        wanted: dict[str, tuple[ActivationMethod, int]] = {}
        for node in graph.nodes:
            choice = chosen.get(node.name, self._default)
            assert choice.activations is not None and choice.activation_bits is not None
            live = {Linear: node.args[:1], Conv2d: node.args[:1], Add: node.args}.get(type(node.op), ())
            for source in (source_of(graph, arg) for arg in live):
                if source not in graph.const and not _is_quantised(graph, source):
                    wanted.setdefault(source, self._method(graph, source, choice.activations, choice.activation_bits))
        if self.output_bits is not None:
            wanted.setdefault(scores_name(graph), (_with_learned_step(self.activations), self.output_bits))
        found = evaluate(replace(graph, outputs=tuple(wanted)), samples[:_OBSERVED_SAMPLES]) if wanted else ()
        made = {
            name: activation_quantiser(*choice, values)
            for (name, choice), values in zip(wanted.items(), found, strict=True)
        }
        return {name: quantiser for name, quantiser in made.items() if quantiser is not None}


def layers_of(graph: Graph) -> list[Node]:
    """Linear layers and convolutions."""
    return [node for node in graph.nodes if isinstance(node.op, Linear | Conv2d)]


def source_of(graph: Graph, value: str) -> str:
    """The value whose elements are moved, but not pooled, to be `value`."""
    node = graph.node.get(value)
    is_move = node is not None and isinstance(node.op, MOVES) and not isinstance(node.op, MaxPool2d)
    return source_of(graph, node.args[0]) if node is not None and is_move else value


def check_trainable(graph: Graph, name: str) -> None:
    """Raise ToolError `already-quantised` for fixed point, `not-finite` for weights that are no numbers."""
    if has_codes(graph):
        message = f"{graph.name} is fixed point already; {name} gives quantisers to floats"
        raise fail("already-quantised", message, hint=f"put {name} before quantise, share and harden")
    check_finite(graph)


def _is_quantised(graph: Graph, value: str) -> bool:
    node = graph.node.get(value)
    return node is not None and isinstance(node.op, ActivationQuantiser)


def _with_learned_step(method: ActivationMethod) -> ActivationMethod:
    """The method of steps that goes with another method."""
    is_power = method is ActivationMethod.LSQ_POWER_OF_TWO
    return ActivationMethod.LSQ_POWER_OF_TWO if is_power else ActivationMethod.LSQ


def _merged(base: LayerMethod, entry: LayerMethod) -> LayerMethod:
    return LayerMethod(
        entry.layer,
        entry.weights or base.weights,
        entry.weight_bits or base.weight_bits,
        entry.activations or base.activations,
        entry.activation_bits or base.activation_bits,
    )


def _check_methods(where: str, choice: LayerMethod) -> None:
    assert choice.weights and choice.activations and choice.weight_bits is not None
    fixed = (WeightMethod.NONE, WeightMethod.TWN, WeightMethod.TTQ, WeightMethod.BWN)
    if choice.weights not in fixed:
        _check_bits(f"weight_bits{where}", choice.weight_bits, *_WEIGHT_BITS.get(choice.weights, (2, 16)))
    assert choice.activation_bits is not None
    if choice.activations not in (ActivationMethod.NONE, ActivationMethod.HORQ):
        limits = _ACTIVATION_BITS.get(choice.activations, (2, MAX_ACTIVATION_BITS))
        _check_bits(f"activation_bits{where}", choice.activation_bits, *limits)


def _check_bits(what: str, bits: int, least: int, most: int) -> None:
    if not least <= bits <= most:
        raise fail("number-range", f"{what} must be between {least} and {most}, not {bits}")
