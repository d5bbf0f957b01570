"""What an accelerator has to compute: the layers of a network that multiply, each as one (grouped) convolution.

A matrix product is a convolution with a 1x1 kernel whose rows are the pixels of an image one pixel wide. Engines take
a `Layer` and need not know where it came from: a Graph (`graph_workload.py`) or a topology file (`topology.py`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitkiln.ir import fail

Pair = tuple[int, int]
Values = NDArray[np.float32]


class LayerKind(Enum):
    """What a layer is to its user; the arithmetic is the same."""

    CONVOLUTION = "convolution"
    MATRIX = "matrix product"


@dataclass(frozen=True)
class Layer:
    """One layer for `batch` images. `channels` and `filters` are those of all groups together.

    Bits of None mean what the accelerator computes with. `weights` [filters, channels/groups, kernel] and
    `activations` [batch, channels, height, width] are the values where they are known; a density is the share of
    values that are not zero, None if it follows from the values (or is 1 without them). `source` names the layer
    whose output this layer alone reads, the operations between being done as the values pass; empty if there is none.
    Where `has_constant_weights` is false, both operands are computed and neither can be prepared beforehand.

    >>> Layer("conv1", LayerKind.CONVOLUTION, 227, 227, 3, 96, (11, 11), (4, 4)).output
    (55, 55)
    """

    name: str
    kind: LayerKind
    height: int
    width: int
    channels: int
    filters: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    groups: int = 1
    batch: int = 1
    is_rounded_up: bool = False
    weight_bits: int | None = None
    activation_bits: int | None = None
    output_bits: int | None = None
    has_constant_weights: bool = True
    source: str = ""
    place: str = ""
    given_weight_density: float | None = None
    given_activation_density: float | None = None
    given_output_density: float | None = None
    weights: Values | None = field(default=None, compare=False, repr=False)
    activations: Values | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_densities()
        if self.channels % self.groups or self.filters % self.groups:
            raise self._bad(
                f"{self.channels} channels and {self.filters} filters do not divide into {self.groups} groups"
            )
        if min(self.output) < 1:
            spread = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
            raise self._bad(f"the kernel of {spread[0]}x{spread[1]} is larger than the padded input of {self.padded}")

    def _check_sizes(self) -> None:
        sizes = {"height": self.height, "width": self.width, "channels": self.channels, "filters": self.filters}
        sizes |= {"groups": self.groups, "batch": self.batch}
        for axis, name in enumerate(("height", "width")):
            sizes |= {f"kernel {name}": self.kernel[axis], f"stride {name}": self.stride[axis]}
            sizes |= {f"dilation {name}": self.dilation[axis]}
        for bits in ("weight_bits", "activation_bits", "output_bits"):
            sizes |= {bits: 1 if getattr(self, bits) is None else getattr(self, bits)}
        for name, size in sizes.items():
            if size < 1:
                raise self._bad(f"{name} must be at least 1, not {size}")
        if min(*self.padding[0], *self.padding[1]) < 0:
            raise self._bad(f"padding must not be negative, but is {self.padding}")

    def _check_densities(self) -> None:
        for what in ("weight", "activation", "output"):
            density: float | None = getattr(self, f"given_{what}_density")
            if density is not None and not 0 <= density <= 1:
                raise self._bad(f"the {what} density must be between 0 and 1, not {density}")

    def _bad(self, message: str) -> Exception:
        return fail("bad-layer", f"layer {self.name}: {message}")

    @cached_property
    def shape(self) -> Hashable:
        """All that is known of the layer but names and values: equal layers have equal shapes."""
        sizes = (self.height, self.width, self.channels, self.filters, self.groups, self.batch, self.is_rounded_up)
        window = (self.kernel, self.stride, self.padding, self.dilation)
        bits = (self.weight_bits, self.activation_bits, self.output_bits, self.has_constant_weights)
        return sizes, window, bits, self.given_weight_density, self.given_activation_density, self.given_output_density

    @property
    def padded(self) -> str:
        """Height and width with padding, as text."""
        return "x".join(str(size + sum(pad)) for size, pad in zip((self.height, self.width), self.padding, strict=True))

    @cached_property
    def output(self) -> Pair:
        """Height and width of the output."""
        height, width = (self._output(axis) for axis in range(2))
        return height, width

    def _output(self, axis: int) -> int:
        size = (self.height, self.width)[axis] + sum(self.padding[axis])
        room = size - self.dilation[axis] * (self.kernel[axis] - 1) - 1
        if room < 0:
            return 0
        return (-(-room // self.stride[axis]) if self.is_rounded_up else room // self.stride[axis]) + 1

    @property
    def is_depthwise(self) -> bool:
        """Each filter sees one channel."""
        return self.groups > 1 and self.groups == self.channels

    @property
    def positions(self) -> int:
        """Output pixels of all images: how often each weight is used. P of the literature."""
        return self.batch * math.prod(self.output)

    @property
    def taps(self) -> int:
        """Products in one output value. K of the literature, of one group."""
        return math.prod(self.kernel) * self.channels // self.groups

    @property
    def group_filters(self) -> int:
        """Filters of one group. N of the literature."""
        return self.filters // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all images, those with padding included."""
        return self.positions * self.taps * self.filters

    @property
    def executed_macs(self) -> float:
        """Those whose two factors are not zero, as the densities lead one to expect if zeros are independent."""
        return self.macs * self.weight_density * self.activation_density

    def binary_speed_up(self, word_bits: int = 64) -> float:
        """Operations if all values are real, over those of XNOR-Net (Rastegari et al. 2016, section 3.3): a word of
        products in one XNOR and popcount, and for each output a multiplication with its scale."""
        return self.macs / (self.macs / word_bits + self.output_count)

    @property
    def weight_count(self) -> int:
        return self.taps * self.filters

    @property
    def input_count(self) -> int:
        """Values of the input, without padding, of all images."""
        return self.batch * self.channels * self.height * self.width

    @property
    def output_count(self) -> int:
        return self.positions * self.filters

    @cached_property
    def weight_density(self) -> float:
        return _density(self.given_weight_density, self.weights)

    @cached_property
    def activation_density(self) -> float:
        return _density(self.given_activation_density, self.activations)

    @property
    def output_density(self) -> float:
        """Of the output after its activation function; 1 unless given."""
        return 1.0 if self.given_output_density is None else self.given_output_density

    def with_batch(self, batch: int) -> Layer:
        """Return the layer for another number of images; activations that are known are those of one image then."""
        return replace(self, batch=batch, activations=self.activations if batch == self.batch else None)


def _density(given: float | None, values: Values | None) -> float:
    if given is not None:
        return given
    return 1.0 if values is None else float(np.count_nonzero(values)) / values.size


@dataclass(frozen=True)
class Workload:
    """The layers of a network in order. `other` counts the operations by name that no engine here computes."""

    name: str
    layers: tuple[Layer, ...]
    batch: int = 1
    other: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise fail("empty-workload", f"{self.name} has no layer that multiplies: there is nothing to simulate")

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)
