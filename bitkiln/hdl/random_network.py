"""Random small networks of codes over all units, described by few numbers so that a failing one can be shrunk.

Every step draws what it does from a seed of its own and fits it to what it finds: without one of them the others still
make a network.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import Enum

import torch

from bitkiln.ir import Builder, Graph, Int, TensorType, storage_dtype
from bitkiln.ir.ops import (
    Add,
    ArgMax,
    Concat,
    Conv2d,
    Dequantise,
    Flip,
    Gelu,
    HardSigmoid,
    HardSwish,
    Linear,
    MaxPool2d,
    Mul,
    MultiThreshold,
    Op,
    Pad,
    Permute,
    Quantise,
    Relu,
    Requantise,
    Reshape,
    Resize,
    ResizeMode,
    Sigmoid,
    Silu,
    Slice,
    SumPool2d,
    Tanh,
)
from bitkiln.ir.units import Storage
from bitkiln.passes.schedule import LayerFolding, PlanOptions

MOST_SIZE, MOST_CHANNELS = 8, 8
_FEW_WEIGHTS = ((-1, 1), (-1, 0, 1), (-16, -2, 0, 1, 4), (-90, 7, 55))


class StepKind(Enum):
    """What a step adds to a map."""

    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise"
    SIGNS = "signs"
    THRESHOLDS = "thresholds"
    RELU = "relu"
    MAX_POOL = "max_pool"
    AVERAGE_POOL = "average_pool"
    RESIDUAL = "residual"
    CONCATENATION = "concatenation"
    SHUFFLE = "shuffle"
    SLICE = "slice"
    ENLARGEMENT = "enlargement"
    FLIP = "flip"
    PADDING = "padding"
    FUNCTION = "function"
    GATE = "gate"


_WITH_WEIGHTS = (StepKind.CONVOLUTION, StepKind.DEPTHWISE, StepKind.SIGNS, StepKind.RESIDUAL, StepKind.GATE)


class End(Enum):
    """What comes behind the map."""

    MAP = "map"
    LINEAR = "linear"
    TWO_LINEAR = "two_linear"
    BEST = "best"


@dataclass(frozen=True)
class Step:
    """One step and the seed of what it draws."""

    kind: StepKind
    seed: int


@dataclass(frozen=True)
class RandomNetwork:
    """A map [channels, height, width] of codes, the steps, the end; folded to `multipliers`, weights in `storage`."""

    seed: int
    channels: int
    height: int
    width: int
    steps: tuple[Step, ...]
    end: End
    multipliers: int
    storage: Storage | None = None
    renewable: bool = False
    banks: int = 1

    @classmethod
    def drawn(cls, seed: int) -> RandomNetwork:
        """Return the network of this seed."""
        rng = random.Random(seed)
        kinds = [rng.choice(_WITH_WEIGHTS), *(rng.choice(list(StepKind)) for _ in range(rng.randint(0, 2)))]
        rng.shuffle(kinds)
        steps = tuple(Step(kind, rng.getrandbits(30)) for kind in kinds)
        size = rng.choice([1, 2, 3, 4, 6]), rng.randint(2, 6), rng.randint(2, 6)
        end, multipliers = rng.choice(list(End)), rng.choice([8, 16, 40])
        storage = rng.choice([None, None, Storage.BLOCK, Storage.BIG, Storage.LOADED])
        return cls(seed, *size, steps, end, multipliers, storage, rng.random() < 0.3, rng.choice([1, 2]))

    def plan_options(self, graph: Graph) -> PlanOptions:
        """How its graph is folded, and where its weights live, if it has some."""
        has_weights = any(isinstance(node.op, Conv2d | Linear) for node in graph.nodes)
        layers = (LayerFolding("*", storage=self.storage),) if self.storage and has_weights else ()
        return PlanOptions(
            max_multipliers=self.multipliers, renewable=self.renewable, weight_banks=self.banks, layers=layers
        )

    def graph(self) -> Graph:
        """Return the quantised graph, always the same."""
        rng = random.Random(self.seed)
        layers = _Layers(Builder(f"random{self.seed}"), rng)
        number = Int(rng.randint(2, 8), rng.random() < 0.5, 4)
        x = layers.build.input("x", TensorType((1, self.channels, self.height, self.width), number))
        for i, step in enumerate(self.steps):
            layers.rng = random.Random(step.seed)
            x = layers.step(x, step.kind, f"{step.kind.value}{i}")
        layers.rng = rng
        return layers.build.graph((layers.end(x, self.end),))


@dataclass
class _Layers:
    """A builder and the generator of the step that is being added."""

    build: Builder
    rng: random.Random

    def step(self, x: str, kind: StepKind, name: str) -> str:
        """Add a step behind the map `x`; return the new map."""
        match kind:
            case StepKind.CONVOLUTION:
                return self._coded(self._convolution(x, name, 1), name)
            case StepKind.DEPTHWISE:
                return self._coded(self._convolution(x, name, self._shape(x)[0]), name)
            case StepKind.SIGNS:
                return self._signs(x, name)
            case StepKind.RESIDUAL:
                return self._residual(x, name)
            case StepKind.CONCATENATION:
                other = self._like(self._convolution(x, f"{name}.branch", 1, same=True), x, f"{name}.codes")
                return self._few(self.build.add(Concat(1), (x, other), name), name)
            case StepKind.GATE:
                return self._gate(x, name)
            case _:
                return self._plain_step(x, kind, name)

    def _plain_step(self, x: str, kind: StepKind, name: str) -> str:
        """The steps without weights."""
        match kind:
            case StepKind.THRESHOLDS:
                return self._thresholds(x, name, self.rng.choice([1, 3, 7]))
            case StepKind.RELU:
                return self.build.add(Relu(), (x,), name)
            case StepKind.MAX_POOL | StepKind.AVERAGE_POOL:
                return self._pool(x, kind, name)
            case StepKind.FUNCTION:
                op = self.rng.choice([HardSwish(), HardSigmoid(), Sigmoid(), Tanh(), Gelu(), Silu()])
                return self._function(x, op, name)
            case _:
                return self._moved(x, kind, name)

    def end(self, x: str, end: End) -> str:
        """Add what comes behind the map; return the output."""
        if end is End.MAP:
            return x
        flat = self.build.add(Reshape((1, math.prod(self._shape(x)))), (x,), "flat")
        if end is End.BEST:
            return self.build.add(ArgMax(), (flat,), "best")
        if end is End.TWO_LINEAR:
            flat = self._coded(self._linear(flat, "fc1", self.rng.choice([3, 4, 6])), "fc1")
        return self._coded(self._linear(flat, "fc2", self.rng.choice([2, 5])), "fc2")

    def _shape(self, x: str) -> tuple[int, ...]:
        return self.build.types[x].shape[1:]

    def _number(self, x: str) -> Int:
        number = self.build.types[x].number
        assert isinstance(number, Int)
        return number

    def _frac(self, x: str) -> int:
        frac = self._number(x).frac
        assert isinstance(frac, int)
        return frac

    def _weights(self, name: str, shape: tuple[int, ...]) -> str:
        """Weights of all kinds: any codes, all or few left, or drawn from few."""
        values, share = self.rng.choice([(None, 1.0), (None, 1.0), (None, 0.15), *((few, 1.0) for few in _FEW_WEIGHTS)])
        bits = self.rng.randint(3, 8) if values is None else 8
        low = -(1 << (bits - 1))
        count = math.prod(shape)
        codes = [self.rng.choice(values) if values else self.rng.randint(low, -low - 1) for _ in range(count)]
        codes = [code if self.rng.random() < share else 0 for code in codes]
        data = torch.tensor(codes).reshape(shape).to(storage_dtype(Int(bits)))
        return self.build.constant(f"{name}.weight", TensorType(shape, Int(bits)), data)

    def _convolution(self, x: str, name: str, groups: int, same: bool = False) -> str:
        """Exact sums; `same` keeps the map's size and channels."""
        channels, height, width = self._shape(x)
        filters = channels * self.rng.choice([1, 2]) if groups > 1 else self.rng.choice([2, 4, 6])
        kernel = self.rng.choice([k for k in (1, 2, 3) if k <= min(height, width) and (k % 2 or not same)])
        pad, stride, dilation = self.rng.randint(0, kernel - 1), self.rng.choice([1, 1, 2]), 1
        if 2 * (kernel - 1) < min(height, width) and self.rng.random() < 0.3:
            dilation = 2
        if same:
            filters, pad, stride, dilation = channels, kernel // 2, 1, 1
        filters = filters if filters <= 2 * MOST_CHANNELS else channels
        op = Conv2d((stride, stride), ((pad, pad), (pad, pad)), (dilation, dilation), groups)
        weight = self._weights(name, (filters, channels // groups, kernel, kernel))
        return self.build.add(op, (x, weight), name)

    def _linear(self, x: str, name: str, outputs: int) -> str:
        return self.build.add(Linear(), (x, self._weights(name, (outputs, self._shape(x)[0]))), name)

    def _coded(self, x: str, name: str) -> str:
        """Sums to codes: requantised, compared, or as they are if they are few."""
        if self.rng.random() < 0.3:
            return self._thresholds(x, f"{name}.codes", self.rng.choice([1, 3]))
        bits, signed = self.rng.randint(2, 8), self.rng.random() < 0.5
        shift = max(0, self._number(x).bits - bits - self.rng.randint(0, 3))
        number = Int(bits, signed, self._frac(x) - shift)
        return self.build.add(Requantise(number, (shift,)), (x,), f"{name}.codes")

    def _like(self, x: str, other: str, name: str) -> str:
        """`x` in the format of `other`."""
        number = self._number(other)
        return self.build.add(Requantise(number, (self._frac(x) - self._frac(other),)), (x,), name)

    def _few(self, x: str, name: str) -> str:
        """No more channels than networks of this size should have."""
        channels = self._shape(x)[0]
        return x if channels <= MOST_CHANNELS else self.build.add(Slice(1, 0, MOST_CHANNELS), (x,), f"{name}.few")

    def _thresholds(self, x: str, name: str, count: int) -> str:
        channels, number = self._shape(x)[0], self._number(x)
        high = max(1, number.hi // 4)
        wide = Int(number.bits + 1, True, number.frac)
        levels = [[self.rng.randint(-high, high) for _ in range(count)] for _ in range(channels)]
        data = torch.tensor(levels).to(storage_dtype(wide))
        const = self.build.constant(f"{name}.levels", TensorType((channels, count), wide), data)
        base, step = ((-1,), (2,)) if count == 1 else ((0,), (1,))
        return self.build.add(MultiThreshold(Int(4), base, step), (x, const), name)

    def _signs(self, x: str, name: str) -> str:
        """Signs, and a convolution of them."""
        signs = self._thresholds(x, f"{name}.signs", 1)
        return self._coded(self._convolution(signs, name, 1), name)

    def _pool(self, x: str, kind: StepKind, name: str) -> str:
        size = min(self._shape(x)[1:])
        kernel = self.rng.choice([k for k in (1, 2, 3) if k <= size])
        stride = self.rng.choice([1, kernel])
        ceil = self.rng.random() < 0.3
        if kind is StepKind.MAX_POOL:
            pad = kernel // 2 if self.rng.random() < 0.3 else 0
            return self.build.add(MaxPool2d((kernel, kernel), (stride, stride), (pad, pad), (1, 1), ceil), (x,), name)
        return self._coded(
            self.build.add(SumPool2d((kernel, kernel), (stride, stride), (0, 0), ceil), (x,), name), name
        )

    def _residual(self, x: str, name: str) -> str:
        y = self._coded(self._convolution(x, f"{name}.branch", 1, same=True), f"{name}.branch")
        points = self._frac(x), self._frac(y)
        shifts = max(points) - points[0], max(points) - points[1]
        return self._coded(self.build.add(Add(shifts), (x, y), name), name)

    def _function(self, x: str, op: Op, name: str) -> str:
        values = self.build.add(Dequantise((self._frac(x),)), (x,), f"{name}.values")
        result = self.build.add(op, (values,), name)
        return self.build.add(Quantise(Int(self.rng.randint(3, 8), True, 3)), (result,), f"{name}.codes")

    def _gate(self, x: str, name: str) -> str:
        """Squeeze and excite: each channel by a function of its mean."""
        _, height, width = self._shape(x)
        mean = self._coded(
            self.build.add(SumPool2d((height, width), (height, width)), (x,), f"{name}.mean"), f"{name}.m"
        )
        gate = self._function(mean, Sigmoid(), f"{name}.gate")
        factors = tuple(
            self.build.add(Dequantise((self._frac(value),)), (value,), f"{name}.{i}")
            for i, value in enumerate((x, gate))
        )
        product = self.build.add(Mul(), factors, name)
        return self.build.add(Quantise(Int(6, True, self._frac(x))), (product,), f"{name}.codes")

    def _moved(self, x: str, kind: StepKind, name: str) -> str:
        channels, height, width = self._shape(x)
        shape = (1, channels, height, width)
        match kind:
            case StepKind.SHUFFLE:
                groups = self.rng.choice([n for n in range(1, channels + 1) if channels % n == 0])
                split = self.build.add(Reshape((1, groups, channels // groups, height, width)), (x,), f"{name}.split")
                turned = self.build.add(Permute((0, 2, 1, 3, 4)), (split,), f"{name}.turned")
                return self.build.add(Reshape(shape), (turned,), name)
            case StepKind.SLICE:
                axis = self.rng.choice([1, 2, 3])
                start = self.rng.randrange(shape[axis])
                op: Op = Slice(axis, start, self.rng.randint(start + 1, shape[axis]), self.rng.choice([1, 2]))
            case StepKind.ENLARGEMENT:
                factor = 2 if 2 * max(height, width) <= MOST_SIZE else 1
                op = Resize((factor * height, factor * width), ResizeMode.NEAREST)
            case StepKind.FLIP:
                op = Flip((self.rng.choice([1, 2, 3]),))
            case _:
                op = Pad(((0, 0), (self.rng.randint(0, 1), 1), (self.rng.randint(0, 2), 0)))
        return self.build.add(op, (x,), name)
