"""Networks of random weights that the resource table is built from: sizes and formats as real ones have them."""

from __future__ import annotations

import math
import random

import torch

from bitkiln.ir import Builder, Graph, Int, TensorType, storage_dtype
from bitkiln.ir.ops import Add, Conv2d, Dequantise, Linear, MaxPool2d, MultiThreshold, Requantise, Reshape, SumPool2d
from bitkiln.ir.units import Multiplier, Storage
from bitkiln.passes.schedule import LayerFolding, PlanOptions

_VALUES = {
    "signs": (-1, 1),
    "ternary": (-1, 0, 1),
    "powers": (-16, -4, -2, 0, 1, 8),
    "shared": (-93, -40, -7, 3, 30, 88),
}


class LayeredNetwork:
    """Convolutions, depthwise ones, pools and residuals of 4 to 32 channels, then linear layers; drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.build = Builder(f"layered{seed}")
        self.high: dict[str, int] = {}
        rng, self.count = self.rng, 0
        channels, size = rng.choice([1, 3, 4, 8]), rng.choice([6, 8, 12, 16, 28])
        x = self.build.input("x", TensorType((1, channels, size, size), Int(rng.choice([4, 8, 8]), False, 4)))
        for _ in range(rng.randint(1, 3)):
            x = self._step(x)
        x = self.build.add(Reshape((1, math.prod(self._shape(x)))), (x,), "flat")
        for _ in range(rng.randint(0, 1)):
            x = self._coded(self._linear(x, rng.choice([16, 24, 32, 64])), last=False)
        x = self._coded(self._linear(x, 10), last=True)
        self.output = x

    def graph(self) -> Graph:
        """Return the quantised graph."""
        return self.build.graph((self.output,))

    def options(self) -> PlanOptions:
        """Return a budget of multipliers, what they are made of and where weights live."""
        rng = self.rng
        storage = rng.choice([None, None, None, Storage.BLOCK, Storage.LUT])
        multiplier = rng.choice([None, None, Multiplier.LUT])
        wish = (LayerFolding("fc*", storage=storage, multiplier=multiplier),)
        return PlanOptions(max_multipliers=rng.choice([6, 10, 16, 24, 40]), dsp=rng.choice([None, 8, 4]), layers=wish)

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

    def _name(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def _step(self, x: str) -> str:
        channels, height, _ = self._shape(x)
        kinds = ["convolution", "convolution", "convolution", "depthwise", "residual"]
        kind = self.rng.choice([*kinds, *(["max", "average"] if height >= 6 else [])])
        match kind:
            case "max":
                return self.build.add(MaxPool2d((2, 2), (2, 2), (0, 0), (1, 1)), (x,), self._name("pool"))
            case "average":
                return self._coded(self.build.add(SumPool2d((2, 2), (2, 2), (0, 0)), (x,), self._name("mean")), False)
            case "residual":
                return self._residual(x)
            case _:
                groups = channels if kind == "depthwise" else 1
                filters = channels if groups > 1 else self.rng.choice([4, 6, 8, 12, 16, 24, 32])
                return self._coded(self._convolution(x, filters, groups, self.rng.choice([1, 3, 3, 5])), False)

    def _residual(self, x: str) -> str:
        y = self._convolution(x, self._shape(x)[0], 1, 3, is_same=True)
        shift = max(0, self._bits(y) - 7)
        y = self.build.add(Requantise(Int(8, True, self._frac(y) - shift), (shift,)), (y,), self._name("codes"))
        points = self._frac(x), self._frac(y)
        shifts = max(points) - points[0], max(points) - points[1]
        return self._coded(self.build.add(Add(shifts), (x, y), self._name("sum")), False)

    def _convolution(self, x: str, filters: int, groups: int, kernel: int, is_same: bool = False) -> str:
        channels, height, _ = self._shape(x)
        kernel = min(kernel, height)
        pad = kernel // 2 if is_same or self.rng.random() < 0.7 else 0
        weight = self._weights((filters, channels // groups, kernel, kernel))
        op = Conv2d((1, 1), ((pad, pad), (pad, pad)), (1, 1), groups)
        return self._product(op, x, weight, self._name("conv"))

    def _linear(self, x: str, outputs: int) -> str:
        return self._product(Linear(), x, self._weights((outputs, self._shape(x)[0])), self._name("fc"))

    def _product(self, op: Conv2d | Linear, x: str, weight: str, name: str) -> str:
        """Add it, and keep about how high its sums go: formats are for all weights, so wider than these need."""
        codes = self.build.consts[-1].data.double()
        deviation = float(codes.reshape(len(codes), -1).norm(dim=1).max())
        result = self.build.add(op, (x, weight), name)
        self.high[result] = max(1, int(2 * deviation * self._number(x).hi))
        return result

    def _bits(self, x: str) -> int:
        return self.high[x].bit_length() if x in self.high else self._number(x).bits

    def _weights(self, shape: tuple[int, ...]) -> str:
        kind = self.rng.choice(["codes", "codes", "codes", "codes", "sparse", *_VALUES])
        bits = self.rng.choice([3, 4, 6, 8, 8]) if kind in ("codes", "sparse") else 8
        count, values = math.prod(shape), _VALUES.get(kind)
        low = -(1 << (bits - 1)) + 1
        codes = [self.rng.choice(values) if values else self.rng.randint(low, -low) for _ in range(count)]
        if kind == "sparse":
            codes = [code if self.rng.random() < 0.15 else 0 for code in codes]
        data = torch.tensor(codes).reshape(shape).to(storage_dtype(Int(bits)))
        return self.build.constant(self._name("weight"), TensorType(shape, Int(bits)), data)

    def _coded(self, x: str, last: bool) -> str:
        number = self._number(x)
        kind = self.rng.choice(["codes", "codes", "codes", "signs", "levels"]) if not last else "sums"
        match kind:
            case "sums":
                return self.build.add(Dequantise((self._frac(x),)), (x,), "scores")
            case "codes":
                bits = self.rng.choice([2, 4, 8, 8])
                shift = max(0, self._bits(x) - bits)
                return self.build.add(
                    Requantise(Int(bits, False, self._frac(x) - shift), (shift,)), (x,), self._name("codes")
                )
            case _:
                count = 1 if kind == "signs" else 3
                high = self.high.get(x, max(1, number.hi // 4))
                wide = Int(number.bits + 1, True, number.frac)
                channels = self._shape(x)[0]
                rows = [[self.rng.randint(-high, high) for _ in range(count)] for _ in range(channels)]
                data = torch.tensor(rows).to(storage_dtype(wide))
                const = self.build.constant(self._name("levels"), TensorType((channels, count), wide), data)
                base, step = ((-1,), (2,)) if count == 1 else ((0,), (1,))
                return self.build.add(MultiThreshold(Int(4), base, step), (x, const), self._name("compared"))
