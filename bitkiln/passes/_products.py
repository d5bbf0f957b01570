"""Convolution and linear layers as matrix-vector products with permuted weights, requantisation taken in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from bitkiln.ir import Graph, Int, Node, product_range
from bitkiln.ir.ops import Conv2d, Requantise
from bitkiln.ir.units import MatrixVector, Multiplier, Storage, Unit

from ._layers import Folding, Format, Geometry, Layer, Place, divisors
from ._orders import Order

MIN_BLOCK_BITS = 1024
MIN_BLOCK_WORDS = 32

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Requantisation:
    """What a requantise node asks of the unit that takes it in: one shift a row, or one for all."""

    shift: tuple[int, ...]
    lo: int
    hi: int
    output: Format


@dataclass(frozen=True, eq=False)
class ProductLayer(Layer):
    """`weights` [groups * rows, columns] and `bias` [groups * rows] in stream order; the bias has the roundings.

    `simd_base` is the run of elements that arrive together and that `simd` must divide. `storage` and `multiplier` are
    what the user asked for, or None.
    """

    vectors: int
    groups: int
    rows: int
    columns: int
    simd_base: int
    geometry: Geometry | None
    input: Format
    weight_bits: int
    accumulator_bits: int
    weights: Codes = field(repr=False)
    bias: Codes = field(repr=False)
    shift: tuple[int, ...]
    lo: int
    hi: int
    storage: Storage | None = None
    multiplier: Multiplier | None = None

    def foldings(self) -> tuple[Folding, ...]:
        return tuple(Folding(pe, simd) for pe in divisors(self.rows) for simd in divisors(self.simd_base))

    def interval(self, folding: Folding) -> int:
        products = self.vectors * self.groups * (self.rows // folding.pe) * (self.columns // folding.simd)
        return max(products, self.geometry.interval(folding.simd) if self.geometry else 0)

    def multipliers(self, folding: Folding) -> int:
        return folding.pe * folding.simd

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        product = MatrixVector(
            vectors=self.vectors,
            groups=self.groups,
            rows=self.rows,
            columns=self.columns,
            pe=folding.pe,
            simd=folding.simd,
            input_bits=self.input.bits,
            input_signed=self.input.signed,
            weight_bits=self.weight_bits,
            accumulator_bits=self.accumulator_bits,
            bits=self.place.output.bits,
            signed=self.place.output.signed,
            lo=self.lo,
            hi=self.hi,
            weights=self.weights,
            bias=self.bias,
            shift=self.shift,
            multiplier=self.multiplier or Multiplier.DSP,
            storage=self.storage or self._usual_storage(folding),
        )
        if self.geometry is None:
            return (("", product),)
        return ((".window", self.geometry.window(folding.simd, self.groups, self.input, 0)), ("", product))

    def _usual_storage(self, folding: Folding) -> Storage:
        """Block RAM pays from some words and bits on; below that its blocks would stay nearly empty."""
        words = self.weights.size // (folding.pe * folding.simd)
        is_small = words < MIN_BLOCK_WORDS or self.weights.size * self.weight_bits < MIN_BLOCK_BITS
        return Storage.LUT if is_small else Storage.BLOCK


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What the lowering knows about the values around a convolution or linear node."""

    input: Format
    input_range: tuple[int, int]
    input_order: Order
    output_order: Order
    requantisation: Requantisation | None


def linear_layer(graph: Graph, node: Node, place: Place, around: Surroundings) -> ProductLayer:
    """Return the layer of a linear node; over more than one vector the orders are the graph's own."""
    weight = _codes(graph, node.args[1])
    bias = _codes(graph, node.args[2]) if len(node.args) > 2 else np.zeros(len(weight), np.int64)
    shift = _shifts(around, len(weight))
    vectors = math.prod(node.type.shape[1:-1])
    if vectors == 1:
        weight, bias = weight[around.output_order][:, around.input_order], bias[around.output_order]
        shift = tuple(shift[row] for row in around.output_order) if shift else ()
    rows, columns = weight.shape
    layer = _product(graph, node, place, around, weight, bias, shift)
    return replace(layer, vectors=vectors, rows=rows, columns=columns, simd_base=columns)


def conv2d_layer(graph: Graph, node: Node, place: Place, around: Surroundings) -> ProductLayer:
    """Return the layer of a convolution: columns go kernel row, kernel column, channel."""
    assert isinstance(node.op, Conv2d)
    weight = _codes(graph, node.args[1])
    filters, channels, *kernel = weight.shape
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(filters, -1)
    bias = _codes(graph, node.args[2]) if len(node.args) > 2 else np.zeros(filters, np.int64)
    (top, _), (left, _) = node.op.padding
    source, result = graph.types[node.args[0]].shape, node.type.shape
    geometry = Geometry(
        size=(source[2], source[3]),
        channels=source[1],
        kernel=(kernel[0], kernel[1]),
        stride=node.op.stride,
        padding=(top, left),
        dilation=node.op.dilation,
        output_size=(result[2], result[3]),
    )
    layer = _product(graph, node, place, around, matrix, bias, _shifts(around, filters))
    return replace(
        layer,
        vectors=geometry.positions,
        groups=node.op.groups,
        rows=filters // node.op.groups,
        columns=matrix.shape[1],
        simd_base=channels,
        geometry=None if geometry.is_identity else geometry,
    )


def _product(
    graph: Graph, node: Node, place: Place, around: Surroundings, weight: Codes, bias: Codes, shift: tuple[int, ...]
) -> ProductLayer:
    """Return the layer with one group and one vector; the caller replaces what its shape says."""
    rounded = bias + np.array([1 << (s - 1) if s > 0 else 0 for s in shift] or [0], np.int64)
    lo, hi = product_range(torch.from_numpy(weight), torch.from_numpy(rounded), around.input_range)
    accumulator = Int.holding(lo, hi, signed=True)
    weight_number = graph.types[node.args[1]].number
    assert isinstance(weight_number, Int)
    wanted = around.requantisation or Requantisation((), accumulator.lo, accumulator.hi, Format.of(accumulator))
    return ProductLayer(
        place=replace(place, output=wanted.output),
        vectors=1,
        groups=1,
        rows=len(weight),
        columns=weight.shape[1],
        simd_base=weight.shape[1],
        geometry=None,
        input=around.input,
        weight_bits=weight_number.bits + (not weight_number.signed),  # the unit's weights are signed
        accumulator_bits=accumulator.bits,
        weights=weight,
        bias=rounded,
        shift=shift,
        lo=wanted.lo,
        hi=wanted.hi,
    )


def _shifts(around: Surroundings, rows: int) -> tuple[int, ...]:
    if around.requantisation is None:
        return ()
    shift = around.requantisation.shift
    return shift if len(shift) == rows else shift * rows


def _codes(graph: Graph, name: str) -> Codes:
    codes: Codes = graph.const[name].data.to(torch.int64).numpy()
    return codes


def takes_requantise(node: Node, requantise: Node) -> bool:
    """True if the product unit can do it: no multiplier, and a shift a row only where rows are channels."""
    assert isinstance(requantise.op, Requantise)
    if requantise.op.multiplier != 1:
        return False
    return len(requantise.op.shift) == 1 or isinstance(node.op, Conv2d) or len(node.type.shape) == 2
