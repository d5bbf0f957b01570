"""Random layers with weights, and the random ways in which their sums become codes again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch

from bitkiln.ir import Builder, Int, TensorType, storage_dtype
from bitkiln.ir.ops import Conv2d, Linear, MultiThreshold, Requantise

MOST_CHANNELS = 8
_FEW_WEIGHTS = ((-1, 1), (-1, 0, 1), (-16, -2, 0, 1, 4), (-90, 7, 55))
"""Signs, two bit planes, powers of two, and a codebook."""


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of a map."""

    kernel: int
    stride: int
    padding: tuple[int, int]
    dilation: int


@dataclass
class RandomLayers:
    """A builder and the generator of the step that is being added."""

    build: Builder
    rng: random.Random

    def shape(self, x: str) -> tuple[int, ...]:
        """Without the batch axis."""
        return self.build.types[x].shape[1:]

    def number(self, x: str) -> Int:
        """The format of a value of codes."""
        number = self.build.types[x].number
        assert isinstance(number, Int)
        return number

    def frac(self, x: str) -> int:
        """The point of a value that has one for all of it."""
        (frac,) = self.number(x).fracs
        return frac

    def convolution(self, x: str, name: str, groups: int = 1, same: bool = False, points: int = 0) -> str:
        """Exact sums; `same` keeps the map's size and channels. For `points` see `weights`."""
        channels, rng = self.shape(x)[0], self.rng
        filters = groups * rng.choice([1, 2]) if groups > 1 else rng.choice([2, 4, 6, 8])
        filters = channels if same or filters > 2 * MOST_CHANNELS else filters
        rows, columns = self.windows(x, same)
        op = Conv2d(
            (rows.stride, columns.stride), (rows.padding, columns.padding), (rows.dilation, columns.dilation), groups
        )
        weight = self.weights(name, (filters, channels // groups, rows.kernel, columns.kernel), points)
        return self.build.add(op, (x, weight, *self._bias(x, weight, name)), name)

    def windows(self, x: str, same: bool = False) -> tuple[Axis, Axis]:
        """Windows that fit the map: mostly square ones."""
        height, width = self.shape(x)[1:]
        if self.rng.random() < 0.7:
            axis = self._axis(min(height, width), same)
            return axis, axis
        return self._axis(height, same), self._axis(width, same)

    def linear(self, x: str, name: str, outputs: int, points: int = 0) -> str:
        """Exact sums over the last axis."""
        weight = self.weights(name, (outputs, self.shape(x)[-1]), points)
        return self.build.add(Linear(), (x, weight, *self._bias(x, weight, name)), name)

    def weights(self, name: str, shape: tuple[int, ...], points: int = 0) -> str:
        """Weights of all kinds: any codes, all or few left, or drawn from few.

        They have `points` points: 1, or one a row; 0 leaves that to chance.
        """
        rng = self.rng
        few_left = [(None, 0.15), ((-90, 7, 55), 0.15)]
        values, share = rng.choice(
            [(None, 1.0), (None, 1.0), *few_left, *few_left, *((few, 1.0) for few in _FEW_WEIGHTS)]
        )
        bits = rng.randint(3, 8) if values is None else 8
        signed = values is not None or rng.random() < 0.9
        number = Int(bits, signed)
        codes = [rng.choice(values) if values else rng.randint(number.lo, number.hi) for _ in range(math.prod(shape))]
        data = torch.tensor([code if rng.random() < share else 0 for code in codes]).reshape(shape)
        if points == 0 and shape[0] > 1 and rng.random() < 0.3:
            number = Int(bits, signed, tuple(rng.randint(-1, 2) for _ in range(shape[0])), 0)
        return self.build.constant(f"{name}.weight", TensorType(shape, number), data.to(storage_dtype(number)))

    def coded(self, x: str, name: str) -> str:
        """Sums to codes: requantised or compared."""
        has_one_point = len(self.number(x).fracs) == 1
        if has_one_point and self.rng.random() < 0.3:
            return self.thresholds(x, f"{name}.codes", self.rng.choice([1, 3]))
        return self.requantised(x, name)

    def requantised(self, x: str, name: str) -> str:
        """Sums to codes of fewer bits; seldom with a factor, as average pooling has one."""
        rng = self.rng
        bits, signed = rng.randint(2, 8), rng.random() < 0.5
        shift = max(0, self.number(x).bits - bits - rng.randint(0, 3))
        multiplier, multiplier_frac = 1, 0
        if len(self.number(x).fracs) == 1 and rng.random() < 0.2:
            multiplier, multiplier_frac = rng.randint(2, 200), 6
            shift += multiplier.bit_length()
        number = Int(bits, signed, min(self.number(x).fracs) + multiplier_frac - shift)
        hi = rng.randint(1, number.hi) if rng.random() < 0.2 else None
        shifts = tuple(frac + multiplier_frac - number.fracs[0] for frac in self.number(x).fracs)
        op = Requantise(number, shifts, multiplier, multiplier_frac, hi)
        return self.build.add(op, (x,), f"{name}.codes")

    def like(self, x: str, other: str, name: str) -> str:
        """`x` in the format of `other`."""
        number = self.number(other)
        shifts = tuple(frac - self.frac(other) for frac in self.number(x).fracs)
        return self.build.add(Requantise(number, shifts), (x,), name)

    def thresholds(self, x: str, name: str, count: int) -> str:
        """Codes by comparison; one threshold gives signs."""
        channels, number = self.shape(x)[0], self.number(x)
        high = max(1, number.hi // 4)
        wide = Int(number.bits + 1, True, number.frac)
        levels = [[self.rng.randint(-high, high) for _ in range(count)] for _ in range(channels)]
        data = torch.tensor(levels).to(storage_dtype(wide))
        const = self.build.constant(f"{name}.levels", TensorType((channels, count), wide), data)
        base, step = ((-1,), (2,)) if count == 1 else ((0,), (1,))
        return self.build.add(MultiThreshold(Int(4), base, step), (x, const), name)

    def _axis(self, size: int, same: bool) -> Axis:
        rng = self.rng
        kernel = rng.choice([k for k in (1, 2, 3) if k <= size and (k % 2 or not same)])
        if same:
            return Axis(kernel, 1, (kernel // 2, kernel // 2), 1)
        before = rng.randint(0, kernel - 1)
        padding = (before, before if rng.random() < 0.7 else rng.randint(0, kernel - 1))
        dilation = 2 if 2 * (kernel - 1) < size and rng.random() < 0.3 else 1
        return Axis(kernel, rng.choice([1, 1, 2, 3]), padding, dilation)

    def _bias(self, x: str, weight: str, name: str) -> tuple[str, ...]:
        if self.rng.random() < 0.5:
            return ()
        type_ = self.build.types[weight]
        assert isinstance(type_.number, Int)
        fracs = tuple(frac + self.frac(x) for frac in type_.number.fracs)
        number = Int(10, True, fracs[0]) if len(fracs) == 1 else Int(10, True, fracs, 0)
        data = torch.tensor([self.rng.randint(-200, 200) for _ in range(type_.shape[0])]).to(storage_dtype(number))
        return (self.build.constant(f"{name}.bias", TensorType(type_.shape[:1], number), data),)
