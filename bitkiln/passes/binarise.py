"""Binary networks from plain float ones: signs instead of activations, a batch norm before each, signs as weights.

The order is layer, max pool, batch norm, sign (Courbariaux et al. 2016; Rastegari et al. 2016), which `harden` folds
into one integer threshold a channel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, assert_never

import torch

from bitkiln.ir import Builder, Diagnostic, Float, Graph, Node, TensorType, ToolError, fail
from bitkiln.ir.ops import (
    Add,
    BatchNorm,
    BinaryScale,
    BinaryWeight,
    Clip,
    Conv2d,
    InputScale,
    LearnedStepActivation,
    Linear,
    MaxPool2d,
    Mul,
    Relu,
    ResidualSigns,
    ResidualWeight,
    ShiftedBasesWeight,
    SignActivation,
    SignGradient,
    TopK,
    WindowedSigns,
)
from bitkiln.ir.ops.activation import Pointwise
from bitkiln.ir.ops.trained_bases import MAX_BASES

from ._activations import MOVES
from ._base import Context, Keeps, Pass, Weights
from ._batch_statistics import measured
from ._codes import with_constants
from ._data import check_samples
from ._methods import Quantiser, add_quantiser, float_weight
from ._selection import check_layers, matches
from .fake_quantise import check_trainable, layers_of

_SHORTCUT_BITS = 8


class BinaryWeights(Enum):
    """What the weights of binary layers become."""

    BNN = "bnn"
    """Signs (Courbariaux et al. 2016)."""
    XNOR = "xnor"
    """Signs times the mean magnitude of the channel (Rastegari et al. 2016)."""
    ABC = "abc"
    """Sums of `weight_bases` shifted signs (Lin et al. 2017)."""
    HORQ = "horq"
    """`weight_bases` residual signs a channel (Li et al. 2017)."""


class BinaryActivations(Enum):
    """What their inputs become."""

    SIGN = "sign"
    ABC = "abc"
    """Sums of `activation_bases` signs with learned windows (Lin et al. 2017)."""
    HORQ = "horq"
    """Two residual signs (Li et al. 2017)."""


class Scores(Enum):
    """What follows the last layer, whose weights are always single signs unless it is excluded."""

    SCALE = "scale"
    """One learned factor for all classes: the sums' own order is the scores', so they are the hardened output."""
    BATCH_NORM = "batch_norm"
    """A batch norm, which stays in floats behind the hardened sums."""


@dataclass(frozen=True)
class Binarise(Pass):
    """Make every layer binary but those that `exclude` names: its weights and, unless it is the first, its inputs.

    Activations and biases before binary inputs go. Batch norms come in their place, with the statistics of the
    calibration samples. `input_threshold` makes the network's input -1 below it and else +1. `shortcuts` add a binary
    layer's normalised input to its normalised result where the shapes agree, both in dynamic fixed point of 8 bits
    (Liu et al. 2018, Bi-Real Net). `input_scale` multiplies the result of convolutions by XNOR-Net's K; such layers
    have no integer form.

    >>> Binarise(input_threshold=0.5, gradient=SignGradient.POLYNOMIAL).weights
    <BinaryWeights.BNN: 'bnn'>
    """

    name: ClassVar[str] = "binarise"
    keeps: ClassVar[Keeps] = Keeps.ACCURACY
    takes: ClassVar[frozenset[Weights]] = frozenset({Weights.FLOATS})
    makes: ClassVar[Weights | None] = Weights.LATENT
    weights: BinaryWeights = BinaryWeights.BNN
    activations: BinaryActivations = BinaryActivations.SIGN
    weight_bases: int = 2
    activation_bases: int = 2
    gradient: SignGradient = SignGradient.CLIP
    input_threshold: float | None = None
    scores: Scores = Scores.SCALE
    shortcuts: bool = False
    input_scale: bool = False
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, bases in (("weight_bases", self.weight_bases), ("activation_bases", self.activation_bases)):
            if not 1 <= bases <= MAX_BASES:
                raise fail("number-range", f"{what} must be between 1 and {MAX_BASES}, not {bases}")

    def check(self, graph: Graph) -> None:
        check_layers(graph, layers_of(graph), self.exclude)

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return the float graph with quantisers; raises ToolError `already-quantised`, `unknown-layer`, `no-weights`,
        `not-finite` and what is wrong with the samples."""
        check_trainable(graph, self.name)
        check_samples(graph, context.calibration, "calibration data")
        layers = layers_of(graph)
        check_layers(graph, layers, self.exclude)
        binary = [node for node in layers if not any(matches(pattern, node) for pattern in self.exclude)]
        findings = [finding for node in binary if (finding := _obstacle(graph, node))]
        if findings:
            raise ToolError(*findings)
        if not binary:
            hint = "exclude fewer layers" if self.exclude else ""
            raise fail("no-weights", f"{graph.name} has no layer left to make binary", hint=hint)
        result = _Rebuild(self, graph, {node.name for node in binary}).run()
        return with_constants(result, measured(result, context.calibration))

    def weight_op(self) -> BinaryWeight | ShiftedBasesWeight | ResidualWeight:
        """The quantiser of the weights of all layers but the last."""
        match self.weights:
            case BinaryWeights.BNN:
                return BinaryWeight(BinaryScale.NONE)
            case BinaryWeights.XNOR:
                return BinaryWeight(BinaryScale.CHANNEL)
            case BinaryWeights.ABC:
                return ShiftedBasesWeight(self.weight_bases)
            case BinaryWeights.HORQ:
                return ResidualWeight(self.weight_bases)
            case _:
                assert_never(self.weights)

    def activation(self) -> Quantiser:
        """The quantiser of normalised activations: parameters are those of a standard normal distribution."""
        match self.activations:
            case BinaryActivations.SIGN:
                return Quantiser(SignActivation(self.gradient), {})
            case BinaryActivations.ABC:
                count = self.activation_bases
                thresholds = torch.special.ndtri(torch.arange(1, count + 1) / (count + 1))
                scales = torch.full((count,), 1 / count)
                return Quantiser(WindowedSigns(count), {"shifts": 0.5 - thresholds, "scales": scales})
            case BinaryActivations.HORQ:
                # Mean magnitudes of a standard normal variable and of what its sign leaves.
                return Quantiser(ResidualSigns(), {"scales": torch.tensor([0.798, 0.482])})
            case _:
                assert_never(self.activations)


@dataclass
class _Rebuild:
    """The binary graph in the making. `values` maps what nodes read, `streams` sources to their normalised floats."""

    options: Binarise
    old: Graph
    binary: set[str]
    build: Builder = field(init=False)
    values: dict[str, str] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    layer_of: dict[str, Node] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)

    def run(self) -> Graph:
        old, self.build = self.old, Builder(self.old.name)
        self.dropped = {node.name for node in old.nodes if self._is_dropped(node)}
        self.sources = {self._source(node.args[0]) for node in old.nodes if node.name in self.binary}
        last = _score_layers(old)
        for value in old.inputs:
            self.values[value.name] = self.build.input(value.name, value.type)
            self.streams[value.name] = self.values[value.name]
            if self.options.input_threshold is not None:
                sign = SignActivation(self.options.gradient, self.options.input_threshold)
                self.values[value.name] = self.build.add(sign, (self.values[value.name],), f"{value.name}.sign")
        for const in old.consts:
            self.values[const.name] = self.build.constant(const.name, const.type, const.data)
        for node in old.nodes:
            if node.name in self.dropped:
                self.values[node.name] = self.values[node.args[0]]
                self._note_layer(node)
                continue
            if node.name in self.binary:
                self.values[node.name] = self._layer(node, node.name in last)
            else:
                args = tuple(self.values[arg] for arg in node.args)
                self.values[node.name] = self.build.add(node.op, args, node.name, node.loc)
            self._note_layer(node)
            if node.name in self.sources:
                self._activate(node)
        return self.build.graph([self.values[name] for name in old.outputs])

    def _source(self, value: str) -> str:
        """The value that is moved, but not pooled, to be `value`, above the activations that go."""
        node = self.old.node.get(value)
        if node is None:
            return value
        is_move = isinstance(node.op, MOVES) and not isinstance(node.op, MaxPool2d)
        return self._source(node.args[0]) if is_move or value in self.dropped else value

    def _is_dropped(self, node: Node) -> bool:
        """True for an activation that nothing but binary inputs reads, through pools and moves."""
        return isinstance(node.op, (Relu, Clip, Pointwise)) and self._feeds_binary(node.name)

    def _feeds_binary(self, name: str) -> bool:
        users = self.old.users[name]
        return (
            bool(users)
            and name not in self.old.outputs
            and all(
                user.name in self.binary
                if isinstance(user.op, Linear | Conv2d)
                else isinstance(user.op, (*MOVES, Relu, Clip, Pointwise)) and self._feeds_binary(user.name)
                for user in users
            )
        )

    def _layer(self, node: Node, is_last: bool) -> str:
        """The layer on quantised weights, without bias."""
        name, weight = node.args[1], self.old.const[node.args[1]]
        quantiser = Quantiser(self.options.weight_op(), {})
        if is_last:
            fan_in = weight.data[0].numel()
            quantiser = Quantiser(BinaryWeight(BinaryScale.NONE), {})
            if self.options.scores is Scores.SCALE:
                quantiser = Quantiser(BinaryWeight(BinaryScale.LEARNED), {"scale": torch.tensor([fan_in**-0.5])})
        quantised = add_quantiser(self.build, quantiser, self.values[name], f"{name}.quantised", node)
        x = self.values[node.args[0]]
        result = self.build.add(node.op, (x, quantised), node.name, node.loc)
        stream = self.streams[self._source(node.args[0])]
        is_whole = self.build.types[stream].shape == self.build.types[x].shape
        if self.options.input_scale and isinstance(node.op, Conv2d) and is_whole:
            _, _, height, width = weight.type.shape
            op = InputScale((height, width), node.op.stride, node.op.padding)
            scale = self.build.add(op, (stream,), f"{node.name}.input_scale", node.loc)
            result = self.build.add(Mul(), (result, scale), f"{node.name}.scaled", node.loc)
        has_norm = self.options.scores is Scores.BATCH_NORM if is_last else not self._is_activated(node.name)
        return self._normalised(result, node) if has_norm else result

    def _is_activated(self, name: str) -> bool:
        """True if a batch norm and sign follow the value, or its pool."""
        users = self.old.users[name]
        is_passed_on = len(users) == 1 and (isinstance(users[0].op, MaxPool2d) or users[0].name in self.dropped)
        return name in self.sources or (is_passed_on and self._is_activated(users[0].name))

    def _note_layer(self, node: Node) -> None:
        """Remember of which binary layer a value is the result, or the greatest of the results."""
        if node.name in self.binary:
            self.layer_of[node.name] = node
        elif (isinstance(node.op, MaxPool2d) or node.name in self.dropped) and node.args[0] in self.layer_of:
            self.layer_of[node.name] = self.layer_of[node.args[0]]

    def _activate(self, node: Node) -> None:
        """Batch norm, shortcut and sign behind a value that binary layers read."""
        value = self.values[node.name]
        stream = value if isinstance(node.op, BatchNorm) else self._normalised(value, node)
        if self.options.shortcuts:
            stream = self._with_shortcut(stream, node)
        self.streams[node.name] = stream
        self.values[node.name] = add_quantiser(self.build, self.options.activation(), stream, f"{node.name}.sign", node)

    def _with_shortcut(self, stream: str, node: Node) -> str:
        op = LearnedStepActivation(_SHORTCUT_BITS, signed=True, power_of_two=True)
        log_step = torch.tensor([-5.0])  # four deviations of a normalised value
        stream = add_quantiser(self.build, Quantiser(op, {"log_step": log_step}), stream, f"{node.name}.stream", node)
        layer = self.layer_of.get(node.name)
        before = self.streams.get(self._source(layer.args[0])) if layer is not None else None
        if before is None or before in {value.name for value in self.build.inputs}:
            return stream
        if self.build.types[before] != self.build.types[stream]:
            return stream
        return self.build.add(Add(), (stream, before), f"{node.name}.shortcut", node.loc)

    def _normalised(self, value: str, node: Node) -> str:
        channels = self.build.types[value].shape[1]
        starts = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
        args = [
            self.build.constant(
                f"{node.name}.norm.{what}", TensorType((channels,), Float()), torch.full((channels,), x)
            )
            for what, x in starts.items()
        ]
        return self.build.add(BatchNorm(), (value, *args), f"{node.name}.norm", node.loc)


def _score_layers(graph: Graph) -> set[str]:
    """Layers whose results are the outputs, or what the outputs choose the greatest of."""
    found: set[str] = set()
    for name in graph.outputs:
        node = graph.node.get(name)
        while node is not None and isinstance(node.op, (*MOVES, TopK)):
            node = graph.node.get(node.args[0])
        if node is not None and isinstance(node.op, Linear | Conv2d):
            found.add(node.name)
    return found


def _obstacle(graph: Graph, node: Node) -> Diagnostic | None:
    if float_weight(graph, node) is not None:
        return None
    message = f"the weights of %{node.name} are no constant of floats, or are quantised already"
    return Diagnostic("already-quantised", message, node.loc, "binarise before other quantisers, and once")
