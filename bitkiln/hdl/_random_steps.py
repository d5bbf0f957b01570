"""What a random network adds to a map: layers, pools, sums, functions and movements, fitted to what is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bitkiln.ir import Int
from bitkiln.ir.ops import (
    Add,
    Concat,
    Dequantise,
    Flip,
    Gelu,
    HardSigmoid,
    HardSwish,
    MaxPool2d,
    Mul,
    Op,
    Pad,
    Permute,
    Quantise,
    Relu,
    Reshape,
    Resize,
    ResizeMode,
    Sigmoid,
    Silu,
    Slice,
    SumPool2d,
    Tanh,
)

from ._random_layers import MOST_CHANNELS, RandomLayers

MOST_SIZE = 8
MOST_TABLE_BITS = 9
_FUNCTIONS: tuple[Op, ...] = (HardSwish(), HardSigmoid(), Sigmoid(), Tanh(), Gelu(), Silu())


class StepKind(Enum):
    """What a step adds to a map."""

    CONVOLUTION = "convolution"
    GROUPED = "grouped"
    DEPTHWISE = "depthwise"
    SIGNS = "signs"
    THRESHOLDS = "thresholds"
    RELU = "relu"
    RESCALE = "rescale"
    MAX_POOL = "max_pool"
    SIGN_POOL = "sign_pool"
    AVERAGE_POOL = "average_pool"
    RESIDUAL = "residual"
    BRANCHES = "branches"
    CONCATENATION = "concatenation"
    SHUFFLE = "shuffle"
    SLICE = "slice"
    ENLARGEMENT = "enlargement"
    FLIP = "flip"
    PADDING = "padding"
    FUNCTION = "function"
    GATE = "gate"


@dataclass(frozen=True)
class RandomSteps:
    """Adds steps to what `layers` builds."""

    layers: RandomLayers

    def add(self, x: str, kind: StepKind, name: str) -> str:
        """Add a step behind the map `x`; return the new map."""
        layers, rng = self.layers, self.layers.rng
        channels = layers.shape(x)[0]
        match kind:
            case StepKind.CONVOLUTION:
                return layers.coded(layers.convolution(x, name), name)
            case StepKind.GROUPED:
                groups = rng.choice([n for n in range(1, channels + 1) if channels % n == 0])
                return layers.coded(layers.convolution(x, name, groups), name)
            case StepKind.DEPTHWISE:
                return layers.coded(layers.convolution(x, name, channels), name)
            case StepKind.SIGNS:
                signs = layers.thresholds(x, f"{name}.signs", 1)
                return layers.coded(layers.convolution(signs, name), name)
            case StepKind.RESIDUAL:
                branch = layers.coded(layers.convolution(x, f"{name}.branch", same=True), f"{name}.branch")
                return layers.coded(self._sum(x, branch, name), name)
            case StepKind.BRANCHES:
                return self._branches(x, name)
            case StepKind.CONCATENATION:
                branch = layers.convolution(x, f"{name}.branch", same=True)
                other = layers.like(branch, x, f"{name}.codes")
                return self._few(layers.build.add(Concat(1), (x, other), name), name)
            case StepKind.GATE:
                return self._gate(x, name)
            case _:
                return self._without_weights(x, kind, name)

    def _without_weights(self, x: str, kind: StepKind, name: str) -> str:
        layers, rng = self.layers, self.layers.rng
        match kind:
            case StepKind.THRESHOLDS:
                return layers.thresholds(x, name, rng.choice([1, 3, 7]))
            case StepKind.RELU:
                return layers.build.add(Relu(), (x,), name)
            case StepKind.RESCALE:
                return layers.requantised(x, name)
            case StepKind.MAX_POOL:
                return self._max_pool(x, name)
            case StepKind.SIGN_POOL:
                return self._max_pool(layers.thresholds(x, f"{name}.signs", 1), name)
            case StepKind.AVERAGE_POOL:
                rows, columns = layers.windows(x)
                sizes = (rows.kernel, columns.kernel), (rows.stride, columns.stride)
                sums = layers.build.add(SumPool2d(*sizes, (0, 0), rng.random() < 0.6), (x,), name)
                return layers.coded(sums, name) if rng.random() < 0.8 else sums
            case StepKind.FUNCTION:
                return self._function(x, rng.choice(_FUNCTIONS), name)
            case _:
                return self._moved(x, kind, name)

    def _sum(self, x: str, y: str, name: str) -> str:
        points = self.layers.frac(x), self.layers.frac(y)
        shifts = max(points) - points[0], max(points) - points[1]
        return self.layers.build.add(Add(shifts), (x, y), name)

    def _branches(self, x: str, name: str) -> str:
        """Two convolutions and what came in: three users of one value."""
        layers = self.layers
        first, second = (layers.coded(layers.convolution(x, f"{name}.{i}", same=True), f"{name}.{i}") for i in range(2))
        inner = layers.requantised(self._sum(first, second, f"{name}.inner"), f"{name}.inner")
        return layers.coded(self._sum(inner, x, name), name)

    def _few(self, x: str, name: str) -> str:
        """No more channels than networks of this size should have."""
        channels = self.layers.shape(x)[0]
        if channels <= MOST_CHANNELS:
            return x
        return self.layers.build.add(Slice(1, 0, MOST_CHANNELS), (x,), f"{name}.few")

    def _max_pool(self, x: str, name: str) -> str:
        layers, rng = self.layers, self.layers.rng
        rows, columns = layers.windows(x)
        kernel, stride = (rows.kernel, columns.kernel), (rows.stride, columns.stride)
        pad = min(kernel) // 2 if rng.random() < 0.3 else 0
        dilation = (rows.dilation, columns.dilation) if pad == 0 else (1, 1)
        op = MaxPool2d(kernel, stride, (pad, pad), dilation, rng.random() < 0.6)
        return layers.build.add(op, (x,), name)

    def _function(self, x: str, op: Op, name: str) -> str:
        build = self.layers.build
        if self.layers.number(x).bits > MOST_TABLE_BITS:
            x = self.layers.requantised(x, f"{name}.few")
        values = build.add(Dequantise((self.layers.frac(x),)), (x,), f"{name}.values")
        result = build.add(op, (values,), name)
        return build.add(Quantise(Int(self.layers.rng.randint(3, 8), True, 3)), (result,), f"{name}.codes")

    def _gate(self, x: str, name: str) -> str:
        """Squeeze and excite: each channel by a function of its mean."""
        layers, build = self.layers, self.layers.build
        _, height, width = layers.shape(x)
        sums = build.add(SumPool2d((height, width), (height, width)), (x,), f"{name}.mean")
        gate = self._function(layers.coded(sums, f"{name}.m"), Sigmoid(), f"{name}.gate")
        factors = tuple(
            build.add(Dequantise((layers.frac(value),)), (value,), f"{name}.{i}") for i, value in enumerate((x, gate))
        )
        product = build.add(Mul(), factors, name)
        return build.add(Quantise(Int(6, True, layers.frac(x))), (product,), f"{name}.codes")

    def _moved(self, x: str, kind: StepKind, name: str) -> str:
        build, rng = self.layers.build, self.layers.rng
        channels, height, width = self.layers.shape(x)
        shape = (1, channels, height, width)
        match kind:
            case StepKind.SHUFFLE:
                groups = rng.choice([n for n in range(1, channels + 1) if channels % n == 0])
                split = build.add(Reshape((1, groups, channels // groups, height, width)), (x,), f"{name}.split")
                turned = build.add(Permute((0, 2, 1, 3, 4)), (split,), f"{name}.turned")
                return build.add(Reshape(shape), (turned,), name)
            case StepKind.SLICE:
                axis = rng.choice([1, 2, 3])
                start = rng.randrange(shape[axis])
                op: Op = Slice(axis, start, rng.randint(start + 1, shape[axis]), rng.choice([1, 2]))
            case StepKind.ENLARGEMENT:
                factor = 2 if 2 * max(height, width) <= MOST_SIZE else 1
                op = Resize((factor * height, factor * width), ResizeMode.NEAREST)
            case StepKind.FLIP:
                op = Flip((rng.choice([1, 2, 3]),))
            case _:
                op = Pad(((0, 0), (rng.randint(0, 1), 1), (rng.randint(0, 2), 0)))
        return build.add(op, (x,), name)
