"""Convolution and linear layers as matrix-vector products with permuted weights, requantisation taken in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bitkiln.ir import Graph, Int, Node, product_range
from bitkiln.ir.ops import Conv2d, MultiThreshold, Requantise
from bitkiln.ir.units import MatrixVector, Multiplier, Packing, Storage, Thresholds, Unit, WeightCode

from ._comparison import reordered
from ._layers import Folding, Format, Geometry, Layer, Place, divisors, lanes_foldings
from ._orders import Order
from ._sparse import MOST_ELEMENTS, SparseCost, pays_sparse, sparse_unit

MIN_BLOCK_BITS = 1024
MIN_BLOCK_WORDS = 32
MOST_CODES = 16
"""Of so many codes a lane's table takes one LUT a bit."""

COUNTS_A_MULTIPLIER = 32
SIGNS_A_MULTIPLIER = 8
"""How many XNOR products, or additions and subtractions, take the LUTs of one multiplier of 8 bits by 8."""

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Requantisation:
    """What a requantise node asks of the unit that takes it in: one shift a channel, or one for all."""

    shift: tuple[int, ...]
    lo: int
    hi: int
    output: Format


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a threshold node asks of the unit that takes it in; a row of thresholds a channel."""

    thresholds: Thresholds
    output: Format


@dataclass(frozen=True)
class _Folded:
    """What a folding makes of the groups of a layer; the names are those of `MatrixVector`."""

    groups: int
    rows: int
    pe: int
    simd: int
    lanewise: bool = False


@dataclass(frozen=True, eq=False)
class ProductLayer(Layer):
    """`weights` [groups * rows, columns] and `bias` [groups * rows] in stream order; the bias has the roundings.

    `simd_base` is the run of elements that arrive together and that `simd` must divide. Depthwise layers (a row and a
    channel each group) take PE channels at a time, one element of each. `storage` and `multiplier` are
    what the user asked for, or None; `packing` comes with packed products.
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
    packing: Packing | None = None
    thresholds: Thresholds | None = None
    weight_code: WeightCode = WeightCode.INTEGER
    sparse: bool | None = None
    skip_zeros: bool = False
    renewable: bool = False
    banks: int = 1

    @property
    def operand(self) -> Format:
        """What the product takes: a window must be able to say 0 where it pads, which no sign is."""
        is_padded = self.geometry is not None and self.geometry.has_padding
        return Format(2, True) if self.input.bipolar and is_padded else self.input

    @property
    def is_multiplied(self) -> bool:
        """True if the products need multipliers: neither input nor weights are signs."""
        return self.weight_code is WeightCode.INTEGER and not self.operand.bipolar

    @property
    def can_be_sparse(self) -> bool:
        return self.is_multiplied and self.groups == 1

    @cached_property
    def is_sparse(self) -> bool:
        """True if weights of 0 are skipped."""
        if self.sparse is None and self.can_be_sparse and not self._stays_dense:
            return self.skip_zeros or pays_sparse(self.weights)
        return bool(self.sparse)

    @property
    def _stays_dense(self) -> bool:
        """True where other weights, or those of the host, may take the place of these."""
        return self.renewable or (self.storage is not None and self.storage.is_loaded)

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.rows == self.simd_base == 1

    def _folded(self, folding: Folding) -> _Folded:
        if self.is_depthwise and folding.pe > 1:
            return _Folded(self.groups // folding.pe, folding.pe, folding.pe, 1, lanewise=True)
        return _Folded(self.groups, self.rows, folding.pe, folding.simd)

    def _words(self, folding: Folding) -> int:
        """Steps of a vector if all weights are multiplied, which is also how many words they are."""
        folded = self._folded(folding)
        return folded.groups * (folded.rows // folded.pe) * (self.columns // folded.simd)

    def is_unrolled(self, folding: Folding) -> bool:
        """True if each weight is a constant in logic, as in `MatrixVector.is_unrolled`."""
        return self._words(folding) == 1 and not (self._stays_dense or self.is_sparse)

    @cached_property
    def _codes(self) -> int:
        """How many different codes the weights have."""
        return len(np.unique(self.weights))

    @cached_property
    def _sparse_cost(self) -> SparseCost:
        return SparseCost(self.weights)

    def foldings(self) -> tuple[Folding, ...]:
        if self.is_depthwise:
            return lanes_foldings(self.groups)
        pes = [pe for pe in divisors(self.rows) if pe <= MOST_ELEMENTS or not self.is_sparse]
        return tuple(Folding(pe, simd) for pe in pes for simd in divisors(self.simd_base))

    def interval(self, folding: Folding) -> int:
        window = self.geometry.interval(folding.simd) if self.geometry else 0
        if self.is_sparse:
            return max(self.vectors * self._sparse_cost.cycles(folding.pe), window)
        return max(self.vectors * self._words(folding), window)

    def multipliers(self, folding: Folding) -> int:
        """Products of signs count by the LUTs that they take, a fraction of a multiplier's."""
        if self.is_sparse:
            return folding.pe
        folded = self._folded(folding)
        products = folded.pe * folded.simd
        if self.is_multiplied:
            return products
        is_count = self.operand.bipolar and self.weight_code in (WeightCode.BIPOLAR, WeightCode.TERNARY)
        return -(-products // (COUNTS_A_MULTIPLIER if is_count else SIGNS_A_MULTIPLIER))

    def units(self, folding: Folding) -> tuple[tuple[str, Unit], ...]:
        folded = self._folded(folding)
        dense = MatrixVector(
            vectors=self.vectors,
            groups=folded.groups,
            rows=folded.rows,
            columns=self.columns,
            pe=folded.pe,
            simd=folded.simd,
            input_bits=self.operand.bits,
            input_signed=self.operand.signed,
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
            storage=self.stored_in(folding),
            weight_code=self._stored_code(folding),
            input_bipolar=self.operand.bipolar,
            output_bipolar=self.place.output.bipolar,
            thresholds=self.thresholds,
            renewable=self.renewable and not self.is_sparse,
            banks=self.banks if self.stored_in(folding).is_loaded else 1,
            packing=self.packing,
            lanewise=folded.lanewise,
        )
        product = sparse_unit(dense, self.skip_zeros) if self.is_sparse else dense
        if self.geometry is None:
            return (("", product),)
        pad_code = self.operand.lo if self.operand.bipolar else 0
        return ((".window", self.geometry.window(folding.simd, folded.groups, self.input, pad_code)), ("", product))

    def _stored_code(self, folding: Folding) -> WeightCode:
        """Integers that are few distinct codes are stored as indices, if a memory gets smaller by that."""
        is_integer = self.weight_code is WeightCode.INTEGER and not self.is_sparse
        if not is_integer or self.renewable or self.stored_in(folding) is Storage.LUT:
            return self.weight_code
        codes = self._codes
        is_small = max(1, (codes - 1).bit_length()) < self.weight_bits and codes <= MOST_CODES
        return WeightCode.CODEBOOK if is_small else self.weight_code

    def stored_in(self, folding: Folding) -> Storage:
        """Block RAM pays from some words and bits on; below that its blocks would stay nearly empty."""
        if self.storage or self.renewable:
            return self.storage or Storage.BLOCK
        is_small = self._words(folding) < MIN_BLOCK_WORDS or self.weights.size * self.weight_bits < MIN_BLOCK_BITS
        return Storage.LUT if is_small else Storage.BLOCK


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What the lowering knows about the values around a convolution or linear node."""

    input: Format
    input_range: tuple[int, int]
    input_order: Order
    output_order: Order
    ending: Requantisation | Comparison | None
    is_renewable: bool


def linear_layer(graph: Graph, node: Node, place: Place, around: Surroundings) -> ProductLayer:
    """Return the layer of a linear node; over more than one vector the orders are the graph's own."""
    weight = _codes(graph, node.args[1])
    bias = _codes(graph, node.args[2]) if len(node.args) > 2 else np.zeros(len(weight), np.int64)
    vectors = math.prod(node.type.shape[1:-1])
    channels = np.arange(len(weight))
    if vectors == 1:
        channels = around.output_order
        weight, bias = weight[channels][:, around.input_order], bias[channels]
    rows, columns = weight.shape
    layer = _product(graph, node, place, around, (weight, bias, channels))
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
    layer = _product(graph, node, place, around, (matrix, bias, np.arange(filters)))
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
    graph: Graph, node: Node, place: Place, around: Surroundings, rows: tuple[Codes, Codes, Codes]
) -> ProductLayer:
    """Return the layer with one group and one vector; the caller replaces what its shape says.

    `rows` are weights, biases and channels in the order of the output.
    """
    weight, bias, channels = rows
    shift = _shifts(around, channels)
    rounded = bias + np.array([1 << (s - 1) if s > 0 else 0 for s in shift] or [0], np.int64)
    weight_code, weight_bits = _weight_code(graph, node.args[1], around.input)
    lo, hi = product_range(torch.from_numpy(weight), torch.from_numpy(rounded), around.input_range)
    if around.is_renewable:
        most = _largest_sum(weight.shape[1], weight_code, weight_bits, around.input)
        lo, hi = min(lo, -2 * most), max(hi, 2 * most)  # room for a bias as large
    accumulator = Int.holding(lo, hi, signed=True)
    wanted, thresholds = around.ending, None
    if isinstance(wanted, Comparison):
        # What no sum reaches is as good as what the largest does not reach: thresholds stay as narrow as sums.
        clipped = np.clip(wanted.thresholds.values[channels], lo, hi + 1)
        thresholds = replace(reordered(wanted.thresholds, channels), values=clipped)
    limits = (wanted.lo, wanted.hi) if isinstance(wanted, Requantisation) else (accumulator.lo, accumulator.hi)
    return ProductLayer(
        place=replace(place, output=wanted.output if wanted else Format.of(accumulator)),
        vectors=1,
        groups=1,
        rows=len(weight),
        columns=weight.shape[1],
        simd_base=weight.shape[1],
        geometry=None,
        input=around.input,
        weight_bits=weight_bits,
        accumulator_bits=accumulator.bits,
        weights=weight,
        bias=rounded,
        shift=shift,
        lo=limits[0],
        hi=limits[1],
        thresholds=thresholds,
        weight_code=weight_code,
        renewable=around.is_renewable,
    )


def _largest_sum(columns: int, weight_code: WeightCode, weight_bits: int, source: Format) -> int:
    """The largest magnitude of a sum of products of any weights with any input."""
    is_few = weight_code in (WeightCode.BIPOLAR, WeightCode.TERNARY)
    largest_weight = 1 if is_few else 1 << (weight_bits - 1)
    return columns * largest_weight * max(map(abs, source.beat(1).code_range))


def _weight_code(graph: Graph, name: str, source: Format) -> tuple[WeightCode, int]:
    """What the codes of a weight are, whatever its format could hold, and the bits of one."""
    number, codes = graph.types[name].number, _codes(graph, name)
    assert isinstance(number, Int)
    found = set(np.unique(codes).tolist())
    if found <= {-1, 1}:
        return WeightCode.BIPOLAR, 1
    if found <= {-1, 0, 1}:
        return WeightCode.TERNARY, 2
    bits = number.bits + (not number.signed)  # the unit's weights are signed
    are_powers = all(abs(code) & (abs(code) - 1) == 0 for code in found)
    is_power = are_powers and not source.bipolar and not pays_sparse(codes.reshape(len(codes), -1))
    return (WeightCode.POWER if is_power else WeightCode.INTEGER), bits


def _shifts(around: Surroundings, channels: Codes) -> tuple[int, ...]:
    if not isinstance(around.ending, Requantisation):
        return ()
    shift = around.ending.shift
    return tuple(shift[channel] for channel in channels) if len(shift) > 1 else shift * len(channels)


def _codes(graph: Graph, name: str) -> Codes:
    codes: Codes = graph.const[name].data.to(torch.int64).numpy()
    return codes


def takes_in(node: Node, user: Node) -> bool:
    """True if the product unit can end with it: no multiplier, and one shift or row of thresholds a row of weights."""
    match user.op:
        case Requantise(shift=shift, multiplier=1):
            return len(shift) == 1 or isinstance(node.op, Conv2d) or len(node.type.shape) == 2
        case MultiThreshold(axis=axis):
            return axis == (1 if isinstance(node.op, Conv2d) else len(node.type.shape) - 1)
        case _:
            return False
