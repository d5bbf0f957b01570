"""Hardware layers before they are folded: which foldings are legal, what they cost, and the units they become."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

from bitkiln.ir import Int, Location
from bitkiln.ir.units import (
    AddStreams,
    Beat,
    Pool,
    Reduction,
    Rescale,
    RescaleStream,
    TopKStream,
    Unit,
    Window,
)

from ._window_interval import window_interval

Pair = tuple[int, int]


def divisors(number: int) -> tuple[int, ...]:
    """All divisors in rising order."""
    return tuple(n for n in range(1, number + 1) if number % n == 0)


@dataclass(frozen=True)
class Format:
    """How one element travels; see `Beat`."""

    bits: int
    signed: bool
    bipolar: bool = False

    @classmethod
    def of(cls, number: Int) -> Format:
        return cls(number.bits, number.signed)

    @property
    def lo(self) -> int:
        return self.beat(1).code_range[0]

    def beat(self, lanes: int) -> Beat:
        return Beat(lanes, self.bits, self.signed, self.bipolar)


SIGN = Format(1, False, True)


@dataclass(frozen=True)
class Folding:
    """`simd` elements enter and `pe` leave at a time; layers that keep beats as they are have one number for both."""

    pe: int
    simd: int


@dataclass(frozen=True)
class Geometry:
    """The windows of a convolution or pooling over a map of height, width, channels; see `Window`."""

    size: Pair
    channels: int
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output_size: Pair

    @property
    def positions(self) -> int:
        return self.output_size[0] * self.output_size[1]

    @property
    def is_identity(self) -> bool:
        """True if the windows are the elements of the map, one by one."""
        is_dense = all(stride == 1 or size == 1 for stride, size in zip(self.stride, self.output_size, strict=True))
        return is_dense and self.kernel == (1, 1) and self.padding == (0, 0) and self.output_size == self.size

    @property
    def has_padding(self) -> bool:
        """True if some window reaches beyond the map."""
        return any(self._reaches_beyond(axis) for axis in range(2))

    def _reaches_beyond(self, axis: int) -> bool:
        last = (self.output_size[axis] - 1) * self.stride[axis] - self.padding[axis]
        return self.padding[axis] > 0 or last + self.dilation[axis] * (self.kernel[axis] - 1) >= self.size[axis]

    @property
    def has_empty_window(self) -> bool:
        """True if some window has no position inside the map."""
        return any(self._has_empty_window(axis) for axis in range(2))

    def _has_empty_window(self, axis: int) -> bool:
        starts = (i * self.stride[axis] - self.padding[axis] for i in range(self.output_size[axis]))
        offsets = range(0, self.kernel[axis] * self.dilation[axis], self.dilation[axis])
        return any(all(not 0 <= start + offset < self.size[axis] for offset in offsets) for start in starts)

    def interval(self, lanes: int) -> int:
        """Cycles between images of the window alone; the groups that it is read in change nothing."""
        return _geometry_interval(self, lanes)

    def window(self, lanes: int, groups: int, element: Format, pad_code: int) -> Window:
        """Return the unit. An axis with one output position has stride 1 and one of kernel 1 has dilation 1, so that
        the ring of rows is no larger than needed.
        """
        stride = (
            self.stride[0] if self.output_size[0] > 1 else 1,
            self.stride[1] if self.output_size[1] > 1 else 1,
        )
        dilation = (
            self.dilation[0] if self.kernel[0] > 1 else 1,
            self.dilation[1] if self.kernel[1] > 1 else 1,
        )
        return Window(
            height=self.size[0],
            width=self.size[1],
            channels=self.channels,
            lanes=lanes,
            bits=element.bits,
            signed=element.signed,
            kernel=self.kernel,
            stride=stride,
            padding=self.padding,
            dilation=dilation,
            output_size=self.output_size,
            groups=groups,
            pad_code=pad_code,
            bipolar=element.bipolar,
        )


@cache
def _geometry_interval(geometry: Geometry, lanes: int) -> int:
    return window_interval(geometry.window(lanes, 1, Format(1, False), 0))


@dataclass(frozen=True)
class Place:
    """Where a layer stands: the name of its main stage, the values that it takes, the value (`node`) that it gives with
    its number of elements and their format.
    """

    name: str
    node: str
    loc: Location
    sources: tuple[str, ...]
    elements: int
    output: Format


@dataclass(frozen=True, eq=False)
class Layer(ABC):
    """What the layers have in common."""

    place: Place

    @abstractmethod
    def foldings(self) -> tuple[Folding, ...]:
        """Legal foldings in a fixed order."""

    @abstractmethod
    def interval(self, folding: Folding) -> int:
        """Cycles between images of its slowest unit, if nothing else holds that up."""

    def multipliers(self, folding: Folding) -> int:
        """Multipliers that work in parallel."""
        return 0

    @abstractmethod
    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        """The units from the input on, each with what is added to the layer's name for its stage."""


def lanes_foldings(channels: int) -> tuple[Folding, ...]:
    """Foldings of a layer that passes beats of any width that divides `channels`."""
    return tuple(Folding(lanes, lanes) for lanes in divisors(channels))


@dataclass(frozen=True, eq=False)
class PoolLayer(Layer):
    geometry: Geometry
    reduction: Reduction
    input: Format
    rescale: Rescale | None

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(self.geometry.channels)

    def interval(self, folding: Folding) -> int:
        elements = self.geometry.size[0] * self.geometry.size[1] * self.geometry.channels
        return elements // folding.simd if self.geometry.is_identity else self.geometry.interval(folding.simd)

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes, shape = folding.simd, self.geometry
        groups = shape.channels // lanes
        pool = Pool(
            reduction=self.reduction,
            window=shape.kernel[0] * shape.kernel[1],
            results=shape.positions * groups,
            lanes=lanes,
            input_bits=self.input.bits,
            input_signed=self.input.signed,
            bits=self.place.output.bits,
            signed=self.place.output.signed,
            rescale=self.rescale,
            bipolar=self.place.output.bipolar,
        )
        if shape.is_identity:
            return (("", pool),)
        pad_code = self.input.lo if self.reduction is Reduction.MAX else 0
        return ((".window", shape.window(lanes, groups, self.input, pad_code)), ("", pool))


@dataclass(frozen=True, eq=False)
class AddLayer(Layer):
    channels: int
    inputs: tuple[Format, Format]
    shifts: Pair
    rescale: Rescale | None

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(self.channels)

    def interval(self, folding: Folding) -> int:
        return self.place.elements // folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes = folding.simd
        a, b = (element.beat(lanes) for element in self.inputs)
        output = self.place.output
        beats = self.place.elements // lanes
        return (("", AddStreams(beats, lanes, a, b, self.shifts, output.bits, output.signed, self.rescale)),)


@dataclass(frozen=True, eq=False)
class RescaleLayer(Layer):
    channels: int
    input: Format
    rescale: Rescale

    def foldings(self) -> tuple[Folding, ...]:
        return lanes_foldings(self.channels)

    def interval(self, folding: Folding) -> int:
        return self.place.elements // folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        lanes, source = folding.simd, self.input
        beats = self.place.elements // lanes
        return (("", RescaleStream(beats, lanes, source.bits, source.signed, self.rescale)),)


@dataclass(frozen=True, eq=False)
class TopKLayer(Layer):
    unit: TopKStream

    def foldings(self) -> tuple[Folding, ...]:
        return (Folding(1, 1),)

    def interval(self, folding: Folding) -> int:
        return self.unit.steps

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        return (("", self.unit),)
